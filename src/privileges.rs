//! Privileges: everything but CAP_NET_ADMIN is given up, for good, before there is any thread.
//!
//! CAP_NET_ADMIN stays because giving an NFLOG group back needs it. Capabilities belong to threads, so a thread that was
//! started earlier would keep its own.

use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, ResUid, Uid, User, geteuid, getresgid, getresuid, setgroups, setresgid, setresuid};
use std::collections::HashSet;

/// Users to become where none is named, the first that exists.
const DEFAULT_USERS: [&str; 2] = ["nfweir", "nobody"];

/// Why privileges could not be dropped; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// It is not there to be kept.
    #[error("CAP_NET_ADMIN is missing: run as root, or give it with AmbientCapabilities=CAP_NET_ADMIN in the service")]
    NoNetAdmin,
    /// The named user does not exist.
    #[error("there is no user `{0}`: create it with `useradd --system {0}`, or name another with --user")]
    NoUser(String),
    /// Only root can change users.
    #[error("becoming user `{0}` takes root: start as root, or leave out --user")]
    NotRoot(String),
    /// Root may not do what root usually may.
    #[error(
        "becoming user `{0}` takes CAP_SETUID and CAP_SETGID, and that user's id in this user namespace ({1}): allow \
             that, or start as that user with the ambient capability CAP_NET_ADMIN"
    )]
    CannotChange(String, &'static str),
    /// A step failed.
    #[error("privileges cannot be dropped: {0} failed: {1}")]
    Step(&'static str, String),
    /// The kernel does not show what was asked for.
    #[error("privileges are not dropped as they should be: {0}")]
    NotVerified(String),
}

/// Becomes `user` if this process is root, keeps CAP_NET_ADMIN alone, forbids new privileges, and verifies all that.
pub fn drop_all_but_net_admin(user: Option<&str>) -> Result<(), PrivilegeError> {
    let net_admin = CapsHashSet::from([Capability::CAP_NET_ADMIN]);
    let permitted = caps::read(None, CapSet::Permitted).map_err(step("reading capabilities"))?;
    if !permitted.contains(&Capability::CAP_NET_ADMIN) {
        return Err(PrivilegeError::NoNetAdmin);
    }
    let becomes = if geteuid().is_root() { become_another(user)? } else { stay(user)? };
    let bounded = empty_bounding_set(&permitted)?;
    caps::clear(None, CapSet::Ambient).map_err(step("emptying the ambient set"))?;
    // the one capability that comes with an ambient one gives nothing to anybody, as new privileges are forbidden
    if !held(CapSet::Inheritable)?.is_subset(&net_admin) {
        caps::clear(None, CapSet::Inheritable).map_err(step("emptying the inheritable set"))?;
    }
    reduce(CapSet::Effective, &net_admin, "reducing the effective set")?;
    reduce(CapSet::Permitted, &net_admin, "reducing the permitted set")?;
    prctl::set_no_new_privs().map_err(step("setting no_new_privs"))?;
    verify(&net_admin, bounded, becomes.as_ref())
}

/// A set that is right is left alone: a service that was started with one capability needs no capset(2), which its sandbox forbids.
fn reduce(set: CapSet, kept: &CapsHashSet, what: &'static str) -> Result<(), PrivilegeError> {
    match held(set)? == *kept {
        true => Ok(()),
        false => caps::set(None, set, kept).map_err(step(what)),
    }
}

fn held(set: CapSet) -> Result<CapsHashSet, PrivilegeError> {
    caps::read(None, set).map_err(step("reading capabilities"))
}

/// Who this process will become, if that is another.
pub fn successor(user: Option<&str>) -> Result<Option<User>, PrivilegeError> {
    if geteuid().is_root() { choose(user).map(Some) } else { Ok(None) }
}

fn step<E: ToString>(what: &'static str) -> impl Fn(E) -> PrivilegeError {
    move |error| PrivilegeError::Step(what, error.to_string())
}

/// By name, or by number as the name of a user that has one.
fn look_up(name: &str) -> Result<Option<User>, PrivilegeError> {
    let found = match (User::from_name(name), name.parse()) {
        (Ok(None), Ok(number)) => User::from_uid(Uid::from_raw(number)),
        (found, _) => found,
    };
    found.map_err(step("looking up the user"))
}

fn choose(user: Option<&str>) -> Result<User, PrivilegeError> {
    if let Some(name) = user {
        return look_up(name)?.ok_or_else(|| PrivilegeError::NoUser(name.to_owned()));
    }
    for name in DEFAULT_USERS {
        if let Some(user) = look_up(name)? {
            return Ok(user);
        }
    }
    Err(PrivilegeError::NoUser(DEFAULT_USERS[0].to_owned()))
}

/// Without root, a named user can only be the one that this process already is.
fn stay(user: Option<&str>) -> Result<Option<User>, PrivilegeError> {
    match user {
        Some(name) if choose(user)?.uid != geteuid() => Err(PrivilegeError::NotRoot(name.to_owned())),
        _ => Ok(None),
    }
}

/// Says who this process has become. A container or user namespace in which root can be nobody else is left at that,
/// unless somebody else was asked for.
fn become_another(user: Option<&str>) -> Result<Option<User>, PrivilegeError> {
    let chosen = choose(user)?;
    if chosen.uid.is_root() {
        return Ok(None);
    }
    match change_user(&chosen) {
        Ok(()) => Ok(Some(chosen)),
        Err(PrivilegeError::CannotChange(name, what)) if user.is_none() && getresuid().is_ok_and(is_root) => {
            log::warn!("staying root, with CAP_NET_ADMIN alone: {}", PrivilegeError::CannotChange(name, what));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn change_user(user: &User) -> Result<(), PrivilegeError> {
    let cannot = |what| move |_| PrivilegeError::CannotChange(user.name.clone(), what);
    // or the permitted set is lost with root
    caps::securebits::set_keepcaps(true).map_err(step("keeping capabilities"))?;
    setgroups(&[user.gid]).map_err(cannot("leaving root's groups failed"))?;
    setresgid(user.gid, user.gid, user.gid).map_err(cannot("changing the group failed"))?;
    setresuid(user.uid, user.uid, user.uid).map_err(cannot("changing the user failed"))
}

fn is_root(ids: ResUid) -> bool {
    [ids.real, ids.effective, ids.saved].iter().all(|id| id.is_root())
}

/// Emptying it takes CAP_SETPCAP; without that there is nothing in it that this process could still gain, as
/// no_new_privs keeps it from gaining anything. Says whether it was emptied.
fn empty_bounding_set(permitted: &CapsHashSet) -> Result<bool, PrivilegeError> {
    if !permitted.contains(&Capability::CAP_SETPCAP) {
        return Ok(false);
    }
    caps::raise(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(step("raising CAP_SETPCAP"))?;
    caps::clear(None, CapSet::Bounding).map_err(step("emptying the bounding set"))?;
    Ok(true)
}

fn verify(net_admin: &CapsHashSet, bounded: bool, user: Option<&User>) -> Result<(), PrivilegeError> {
    let none = HashSet::new();
    let mut expected = vec![(CapSet::Permitted, net_admin), (CapSet::Effective, net_admin), (CapSet::Ambient, &none)];
    if bounded {
        expected.push((CapSet::Bounding, &none));
    }
    for (set, expected) in expected {
        let found = held(set)?;
        if found != *expected {
            return Err(PrivilegeError::NotVerified(format!("the {set:?} set holds {found:?}")));
        }
    }
    let inheritable = held(CapSet::Inheritable)?;
    if !inheritable.is_subset(net_admin) {
        return Err(PrivilegeError::NotVerified(format!("the Inheritable set holds {inheritable:?}")));
    }
    if prctl::get_no_new_privs() != Ok(true) {
        return Err(PrivilegeError::NotVerified("no_new_privs is not set".to_owned()));
    }
    match user {
        Some(user) if !is(user).map_err(step("reading the user"))? => {
            Err(PrivilegeError::NotVerified(format!("this is not user {} in all respects", user.name)))
        }
        _ => Ok(()),
    }
}

/// Real, effective and saved user and group.
fn is(user: &User) -> Result<bool, Errno> {
    let (uids, gids) = (getresuid()?, getresgid()?);
    let uids: [Uid; 3] = [uids.real, uids.effective, uids.saved];
    let gids: [Gid; 3] = [gids.real, gids.effective, gids.saved];
    Ok(uids == [user.uid; 3] && gids == [user.gid; 3])
}
