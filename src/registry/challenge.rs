//! Challenges: the `WWW-Authenticate` headers of RFC 9110, section 11, by which a server says how
//! requests have to be authorized.

/// Challenge: a scheme and its parameters. Scheme and parameter names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Authentication scheme, in lower case.
    pub scheme: String,
    /// Names and values of the parameters, in their order.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Returns the first value of a parameter; `None` if there is none.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Parses the challenges of a header. Parsing ends at the first syntax error, and returns the
/// challenges before it.
pub fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = Rest(header);
    loop {
        rest.skip(|c| c.is_ascii_whitespace() || c == ',');
        let Some(word) = rest.token() else { return found };
        rest.skip(|c| c == ' ' || c == '\t');
        if rest.take('=') {
            rest.skip(|c| c == ' ' || c == '\t');
            let Some(value) = rest.value() else { return found };
            let Some(challenge) = found.last_mut() else { return found };
            challenge.parameters.push((word.to_ascii_lowercase(), value));
        } else {
            found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
        }
    }
}

/// Unread part of a header.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(is_skipped);
    }

    fn take(&mut self, expected: char) -> bool {
        match self.0.strip_prefix(expected) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Option<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.0.find(|c| !is_part(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then(|| token.to_owned())
    }

    /// Reads a quoted string, or a word up to the next comma or white space: some servers omit the
    /// quotes around URLs.
    fn value(&mut self) -> Option<String> {
        if !self.take('"') {
            let end = self.0.find([',', ' ', '\t', '"']).unwrap_or(self.0.len());
            let (value, rest) = self.0.split_at(end);
            self.0 = rest;
            return (!value.is_empty()).then(|| value.to_owned());
        }
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: &str) -> String {
        let shown = challenges(header).into_iter().map(|challenge| {
            let parameters =
                challenge.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
            challenge.scheme.clone() + &parameters.collect::<String>()
        });
        shown.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        let table = [
            (r#"Basic realm="x""#, "basic realm=x"),
            ("Basic", "basic"),
            (
                r#"Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push""#,
                "bearer realm=https://a/token service=s scope=repository:a/b:pull,push",
            ),
            (r#"BEARER Realm = "https://a" , Service=s"#, "bearer realm=https://a service=s"),
            (
                r#"Basic realm="x", Bearer realm="https://a""#,
                "basic realm=x | bearer realm=https://a",
            ),
            (r#"Bearer realm="a\"b\\c""#, r#"bearer realm=a"b\c"#),
            ("Bearer realm=https://a/t?x=y,service=s", "bearer realm=https://a/t?x=y service=s"),
            (",, Basic ,realm=\"x\",,", "basic realm=x"),
            ("Negotiate, Basic realm=x", "negotiate | basic realm=x"),
        ];
        for (header, expected) in table {
            assert_eq!(shown(header), expected, "{header}");
        }
    }

    #[test]
    fn nonsense_ends_the_reading() {
        let table = [
            ("", ""),
            ("\"", ""),
            ("realm=\"x\"", ""),
            ("Bearer realm=\"https://a", "bearer"),
            ("Bearer realm=\"a\\", "bearer"),
            ("Bearer realm=", "bearer"),
            ("Bearer \u{202e}realm=\"a\"", "bearer"),
            ("Basic realm=x \"y\" Bearer realm=z", "basic realm=x"),
        ];
        for (header, expected) in table {
            assert_eq!(shown(header), expected, "{header}");
        }
        assert_eq!(challenges(&"a,".repeat(1 << 19)).len(), 1 << 19);
    }
}
