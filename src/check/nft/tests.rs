use super::*;
use crate::check::condition::{IP_VERSION, PROTOCOL};
use crate::check::trace::Trace;
use crate::check::value::Value as Compared;
use proptest::prelude::*;

/// Steps of the rules in a chain, from its expressions as nft 1.0.6 prints them.
fn steps_of(expressions: &str) -> Vec<Vec<Step>> {
    let rule = serde_json::from_str(&format!(
        r#"{{"family":"inet","table":"t","chain":"c","handle":5,"expr":{expressions}}}"#
    ));
    rules(&rule.unwrap(), &mut Sets::of(&[], |_: &str| None)).into_iter().map(|rule| rule.steps).collect()
}

fn log(group: u16) -> Step {
    Step::Log(Log { group, snaplen: None, queue_threshold: None })
}

fn call(chain: &str) -> Step {
    Step::Call(chain.to_owned())
}

const END: Step = Step::Return;

#[test]
fn statements() {
    let any = || Step::Match(None);
    let is_of = |field, value| Step::Match(Some(Condition::is(field, value)));
    let among = |field: &str, value| {
        Step::Match(Some(Condition { field: field.to_owned(), negated: false, values: vec![value] }))
    };
    let of_lo = || Step::Match(Some(Condition::is(INPUT_DEVICE, "lo")));
    for (expressions, expected) in [
        (
            r#"[{"counter":{"packets":1,"bytes":2}},{"log":{"prefix":"a","group":5,"snaplen":32,"queue-threshold":1}}]"#,
            vec![Step::Log(Log { group: 5, snaplen: Some(32), queue_threshold: Some(1) })],
        ),
        // the kernel's own log
        (r#"[{"log":{"prefix":"a"}},{"log":null},{"drop":null}]"#, vec![Step::End { drops: true }]),
        (r#"[{"match":{"op":"==","left":{"meta":{"key":"iif"}},"right":"lo"}},{"return":null}]"#, vec![of_lo(), END]),
        (
            r#"[{"match":{"op":"!=","left":{"meta":{"key":"iifname"}},"right":{"set":["eth*","lo"]}}},{"jump":{"target":"a"}}]"#,
            vec![
                Step::Match(Some(Condition {
                    field: INPUT_DEVICE.to_owned(),
                    negated: true,
                    values: vec![Compared::of("eth*"), Compared::of("lo")],
                })),
                call("a"),
            ],
        ),
        (
            r#"[{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"range":[1,5]}}},{"goto":{"target":"a"}}]"#,
            vec![is_of(PROTOCOL, "tcp"), among("dport", Compared::Range(1, 5)), call("a"), END],
        ),
        (
            r#"[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@s"}}]"#,
            vec![is_of(IP_VERSION, "ipv4"), among("ip saddr", Compared::Set("@inet t s".to_owned()))],
        ),
        (
            r#"[{"match":{"op":"==","left":{"payload":{"protocol":"ip6","field":"daddr"}},"right":{"set":[{"elem":{"val":{"prefix":{"addr":"fd00::","len":8}},"comment":"a"}}]}}}]"#,
            vec![is_of(IP_VERSION, "ipv6"), among("ip6 daddr", Compared::prefix("fd00::", 8).unwrap())],
        ),
        (
            r#"[{"match":{"op":">=","left":{"payload":{"protocol":"th","field":"sport"}},"right":1024}}]"#,
            vec![among("sport", Compared::Range(1024, u128::MAX))],
        ),
        // any of these, and perhaps more
        (
            r#"[{"match":{"op":"in","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":"syn"}}]"#,
            vec![is_of(PROTOCOL, "tcp"), any()],
        ),
        (
            r#"[{"match":{"op":"==","left":{"&":[{"meta":{"key":"mark"}},16]},"right":0}}]"#,
            vec![Step::Match(Some(Condition::of_mark()))],
        ),
        (r#"[{"limit":{"rate":5,"burst":5,"per":"second"}},{"log":{"group":7}}]"#, vec![Step::Limit, log(7)]),
        (
            r#"[{"meter":{"key":{"payload":{}},"stmt":{"limit":{"rate":5,"burst":5,"per":"second"}},"size":65535,"name":"x"}}]"#,
            vec![Step::Limit],
        ),
        (r#"[{"flow":{"op":"add","flowtable":"@f"}},"flow add @f"]"#, vec![Step::Offload, Step::Offload]),
        (
            r#"[{"xt":{"type":"match","name":"statistic"}},{"xt":{"type":"match","name":"owner"}},{"xt":null}]"#,
            vec![Step::Select(None), any(), any()],
        ),
        ("[{\"mangle\":{\"key\":{\"meta\":{\"key\":\"mark\"}},\"value\":1}},{\"new in nft 9\":[]}, 5]", vec![]),
    ] {
        assert_eq!(steps_of(expressions), [expected], "{expressions}");
    }
}

#[test]
fn shares_of_packets() {
    for (op, right, expected) in [
        ("==", "7", Some(0.1)),
        ("!=", "7", Some(0.9)),
        ("==", r#"{"set":[0,{"range":[2,3]}]}"#, Some(0.3)),
        ("!=", r#"{"range":[2,3]}"#, Some(0.8)),
        ("<", "8", Some(0.3)),
        ("<=", "8", Some(0.4)),
        (">", "8", Some(0.6)),
        (">=", "8", Some(0.7)),
        ("==", "\"@s\"", None),
        ("<", "4", Some(0.0)),
    ] {
        let left = r#"{"numgen":{"mode":"inc","mod":10,"offset":5}}"#;
        let expression = format!(r#"[{{"match":{{"op":"{op}","left":{left},"right":{right}}}}}]"#);
        assert_eq!(steps_of(&expression), [[Step::Select(expected)]], "{expression}");
    }
    let flows = r#"[{"match":{"op":"==","left":{"symhash":{"mod":5,"offset":0}},"right":0}}]"#;
    assert_eq!(steps_of(flows), [[Step::Select(None)]]);
}

#[test]
fn maps_of_verdicts() {
    let map = |key: &str, elements: &str| steps_of(&format!(r#"[{{"vmap":{{"key":{key},"data":{elements}}}}}]"#));
    let (numgen, symhash) = (r#"{"numgen":{"mode":"inc","mod":4,"offset":0}}"#, r#"{"symhash":{"mod":2,"offset":0}}"#);
    let half = r#"{"set":[[{"range":[0,1]},{"jump":{"target":"a"}}],[2,{"drop":null}],[3,{"continue":null}]]}"#;
    let drop = Step::End { drops: true };
    let select = |share| Step::Select(Some(share));
    assert_eq!(map(numgen, half), [vec![select(0.5), call("a")], vec![select(0.25), drop], vec![]]);
    let both = r#"{"set":[[0,{"jump":{"target":"a"}}],[1,{"jump":{"target":"b"}}]]}"#;
    // spread, not sampled
    assert_eq!(map(symhash, both), [vec![select(1.0), call("a")], vec![select(1.0), call("b")], vec![]]);
    let one = r#"{"set":[[0,{"jump":{"target":"a"}}]]}"#;
    assert_eq!(map(symhash, one), [vec![Step::Select(None), call("a")], vec![]]);
    let devices = r#"{"set":[["lo",{"return":null}],["eth0",{"goto":{"target":"a"}}]]}"#;
    let is = |device| Step::Match(Some(Condition::is(INPUT_DEVICE, device)));
    assert_eq!(
        map(r#"{"meta":{"key":"iifname"}}"#, devices),
        [vec![is("lo"), END], vec![is("eth0"), call("a"), END], vec![]]
    );
    assert_eq!(map(r#"{"meta":{"key":"iifname"}}"#, "\"@m\""), [vec![Step::Match(None), Step::CallUnknown], vec![]]);
}

#[test]
fn chains_of_tables() {
    let printed = r#"{"nftables":[{"metainfo":{"version":"1.0.6","json_schema_version":1}},
        {"table":{"family":"inet","name":"a","handle":1,"flags":"d"}},
        {"table":{"family":"inet","name":"b","handle":2}},{"table":{"family":"arp","name":"c","handle":3}},
        {"chain":{"family":"inet","table":"a","name":"x","handle":1,"type":"filter","hook":"input","prio":0,"policy":"accept"}},
        {"chain":{"family":"inet","table":"b","name":"x","handle":1,"type":"nat","hook":"postrouting","prio":0,"policy":"accept"}},
        {"chain":{"family":"inet","table":"b","name":"y","handle":1}},
        {"chain":{"family":"netdev","table":"b","name":"e","handle":1,"dev":["x","y"],"type":"filter","hook":"egress","prio":0}},
        {"chain":{"family":"arp","table":"c","name":"z","handle":1,"type":"filter","hook":"input","prio":0}},
        {"rule":{"family":"inet","table":"b","chain":"x","handle":7,"expr":[{"log":{"group":5}}]}},
        {"rule":{"family":"arp","table":"c","chain":"z","handle":8,"expr":[{"log":{"group":5}}]}}]}"#;
    let chains = read(printed, |_| None).unwrap().chains;
    let devices = Condition {
        field: OUTPUT_DEVICE.to_owned(),
        negated: false,
        values: vec![Compared::of("x"), Compared::of("y")],
    };
    assert_eq!(chains[3].devices, Some(devices));
    let told: Vec<_> = chains.iter().map(|it| (it.table.as_str(), it.name.as_str(), it.hook, it.is_nat)).collect();
    // a table that is dormant is called nowhere
    let expected = [
        ("inet a", "x", None, false),
        ("inet b", "x", Some(Hook::Postrouting), true),
        ("inet b", "y", None, false),
        ("netdev b", "e", Some(Hook::Egress), false),
    ];
    assert_eq!(told, expected);
    let place = "table inet b, chain x, handle 7".to_owned();
    assert_eq!(chains[1].rules, [Rule { place, text: r#"{"log":{"group":5}}"#.to_owned(), steps: vec![log(5)] }]);
    assert!(read("no JSON", |_| None).is_err());
}

/// Any JSON of words that nft uses.
fn json() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 31] = [
        "match", "op", "==", "<", "left", "right", "vmap", "key", "data", "set", "range", "numgen", "symhash", "mod",
        "offset", "meta", "iifname", "payload", "protocol", "tcp", "log", "group", "limit", "jump", "target", "c",
        "drop", "return", "xt", "flow", "&",
    ];
    let word = || prop::sample::select(&WORDS[..]).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<u64>().prop_map(Value::from),
        (0..5u64).prop_map(Value::from),
        word().prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 64, 4, move |inner| {
        let object = prop::collection::vec((word(), inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_is_printed_makes_it_panic(statements in prop::collection::vec(json(), 0..5), object in json()) {
        let chain = r#"{"chain":{"family":"inet","table":"t","name":"c","hook":"input"}}"#;
        let rule = serde_json::json!({"rule": {"family": "inet", "table": "t", "chain": "c", "expr": statements}});
        Trace::of(&read(&format!(r#"{{"nftables":[{chain},{rule},{object}]}}"#), |_| None).unwrap());
    }
}
