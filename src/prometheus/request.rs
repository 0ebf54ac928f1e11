//! What is asked for over HTTP/1.1 (RFC 9112), and what is answered.

/// Where the counters are.
pub const PATH: &str = "/metrics";

/// What is answered to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The counters.
    Counters,
    /// Where those are.
    Index,
    /// There is no such page.
    NotFound,
    /// Nobody may change anything here.
    NotAllowed,
    /// It is no request.
    BadRequest,
}

/// By a request's head: its first line, `GET /metrics HTTP/1.1`. Whether only the answer's head is wanted too.
pub fn answer(head: &[u8]) -> (Answer, bool) {
    let line = head.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii_end();
    let words: Vec<_> = line.split(|octet| *octet == b' ').collect();
    let [method, target, version] = words[..] else { return (Answer::BadRequest, false) };
    let path = target.split(|octet| *octet == b'?').next().unwrap_or_default();
    let answer = match method {
        _ if !version.starts_with(b"HTTP/1.") || !target.starts_with(b"/") => Answer::BadRequest,
        b"GET" | b"HEAD" if path == PATH.as_bytes() => Answer::Counters,
        b"GET" | b"HEAD" if path == b"/" => Answer::Index,
        b"GET" | b"HEAD" => Answer::NotFound,
        _ => Answer::NotAllowed,
    };
    (answer, method == b"HEAD")
}

impl Answer {
    /// Status line and fields, before the length of the content.
    pub fn head(self) -> &'static str {
        match self {
            Self::Counters => "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
            Self::Index => "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n",
            Self::NotFound => "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n",
            Self::NotAllowed => {
                "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Type: text/plain; charset=utf-8\r\n"
            }
            Self::BadRequest => "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n",
        }
    }

    /// The content, where it is not the counters.
    pub fn content(self) -> &'static str {
        match self {
            Self::Counters => "",
            Self::Index => "nfweir: the counters are at /metrics\n",
            Self::NotFound => "there is nothing here: the counters are at /metrics\n",
            Self::NotAllowed => "nothing can be changed here: GET /metrics\n",
            Self::BadRequest => "this is no request of HTTP/1.1: GET /metrics\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_to_requests() {
        for (head, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Answer::Counters),
            ("GET /metrics?name[]=a HTTP/1.0\n\n", Answer::Counters),
            ("GET / HTTP/1.1\r\n\r\n", Answer::Index),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", Answer::NotFound),
            ("POST /metrics HTTP/1.1\r\n\r\n", Answer::NotAllowed),
            ("GET /metrics HTTP/2\r\n\r\n", Answer::BadRequest),
            ("GET metrics HTTP/1.1\r\n\r\n", Answer::BadRequest),
            ("GET  /metrics HTTP/1.1\r\n\r\n", Answer::BadRequest),
            ("GET /metrics\r\n\r\n", Answer::BadRequest),
            ("\r\nGET /metrics HTTP/1.1\r\n\r\n", Answer::BadRequest),
            ("", Answer::BadRequest),
        ] {
            assert_eq!(answer(head.as_bytes()), (expected, false), "{head}");
        }
        assert_eq!(answer(b"HEAD /metrics HTTP/1.1\r\n\r\n"), (Answer::Counters, true));
    }

    proptest! {
        #[test]
        fn any_octets_have_an_answer(head: Vec<u8>) {
            let (answer, _) = answer(&head);
            prop_assert!(answer.head().ends_with("\r\n"));
        }
    }
}
