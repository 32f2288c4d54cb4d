//! The syntax of Python's module `re`, rewritten in the syntax that the `regex` and `fancy-regex`
//! crates share.
//!
//! Both read most patterns as Python does. The rest of the syntax is replaced here: `\Z`, octal
//! escapes, `{,n}`, literal braces and brackets, comments, the flags `a`, `u` and `x`, and references to
//! groups by name. Patterns that Python refuses are refused with its reasons, except for look-behind
//! without a fixed width. A class that Python reads in another way than the `regex` crate, such as
//! `[[:alpha:]]`, is refused, too, since its writer may mean either.

use std::collections::BTreeMap;

/// Pattern in the syntax that both crates share.
#[derive(Debug)]
pub struct Rewritten {
    /// Text of the pattern.
    pub text: String,
    /// True if only a backtracking engine can search it.
    pub needs_backtracking: bool,
}

/// Reason why a pattern can't be read as one of Python's.
#[derive(Debug)]
pub struct Flaw {
    /// Reason in words.
    pub reason: String,
    /// True if a part that needs backtracking comes before the flaw.
    pub follows_backtracking: bool,
}

/// Rewrites a pattern in Python's syntax.
pub fn rewrite(pattern: &str) -> Result<Rewritten, Flaw> {
    let mut reader = Reader::new(pattern);
    match reader.pattern() {
        Ok(text) => Ok(Rewritten { text, needs_backtracking: reader.needs_backtracking }),
        Err(reason) => Err(Flaw { reason, follows_backtracking: reader.needs_backtracking }),
    }
}

/// Largest depth of groups in groups: fancy-regex has a limit of 64, and a possessive repetition
/// becomes a group in a group.
const DEPTH: usize = 30;

/// Result of reading a part of a pattern: an error is a reason in words.
type Read<T> = Result<T, String>;

struct Reader {
    characters: Vec<char>,
    position: usize,
    /// Groups that are open, outermost first; the first one is the whole pattern.
    open: Vec<Group>,
    /// For each capturing group, in order, true if it is closed.
    captures: Vec<bool>,
    /// Numbers of the capturing groups that have names.
    names: BTreeMap<String, usize>,
    /// Number of the last group that a condition asks for.
    last_condition: usize,
    /// Flags of the whole pattern.
    flags: String,
    needs_backtracking: bool,
}

/// Group that is being read.
#[derive(Default)]
struct Group {
    /// Text that opens the group.
    opening: String,
    /// Text before the last item.
    text: String,
    /// Last item.
    item: String,
    repetition: Repetition,
    kind: Kind,
    /// Number of branches before the current one.
    branches: usize,
    /// True if white space and comments are ignored.
    is_verbose: bool,
}

/// Possibility to repeat the last item.
#[derive(Default, Clone, Copy)]
enum Repetition {
    /// There is no item, or it is an assertion.
    #[default]
    Nothing,
    Possible,
    /// The item is a look-around, which needs no second look: fancy-regex refuses to repeat it.
    OfAssertion,
    /// The item is repeated already.
    Done,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Kind {
    #[default]
    Plain,
    /// Capturing group with this number.
    Capture(usize),
    Conditional,
    /// Look-around.
    Assertion,
}

impl Group {
    fn add(&mut self, item: String, repetition: Repetition) {
        self.text.push_str(&self.item);
        self.item = item;
        self.repetition = repetition;
    }
}

/// Member of a class.
enum Member {
    One(char),
    /// Escape for a set of characters.
    Set(String),
}

impl Reader {
    fn new(pattern: &str) -> Self {
        Self {
            characters: pattern.chars().collect(),
            position: 0,
            open: vec![Group::default()],
            captures: Vec::new(),
            names: BTreeMap::new(),
            last_condition: 0,
            flags: String::new(),
            needs_backtracking: false,
        }
    }

    fn peek(&self) -> Option<char> {
        self.characters.get(self.position).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.position += usize::from(next.is_some());
        next
    }

    /// Reads `text`, if it comes next.
    fn eat(&mut self, text: &str) -> bool {
        let rest = self.characters[self.position..].iter();
        let is_next = text.chars().eq(rest.take(text.len()).copied());
        self.position += if is_next { text.len() } else { 0 };
        is_next
    }

    /// Reads the characters up to `end`, and `end`.
    fn until(&mut self, end: char) -> Read<String> {
        let rest = &self.characters[self.position..];
        let length = rest.iter().position(|c| *c == end);
        let length = length.ok_or_else(|| format!("missing '{end}'"))?;
        self.position += length + 1;
        Ok(rest[..length].iter().collect())
    }

    /// Reads up to `most` digits of the given radix.
    fn digits(&mut self, radix: u32, most: usize) -> String {
        let rest = self.characters[self.position..].iter().take(most);
        let digits: String = rest.take_while(|c| c.is_digit(radix)).collect();
        self.position += digits.len();
        digits
    }

    fn group(&mut self) -> &mut Group {
        self.open.last_mut().expect("the whole pattern is closed last")
    }

    fn pattern(&mut self) -> Read<String> {
        while let Some(next) = self.next() {
            self.item(next)?;
        }
        if self.open.len() > 1 {
            return Err("a group is not closed".to_owned());
        }
        if self.last_condition > self.captures.len() {
            return Err(format!("there is no group {}", self.last_condition));
        }
        let whole = self.group();
        let text = format!("{}{}", whole.text, whole.item);
        Ok(if self.flags.is_empty() { text } else { format!("(?{}){text}", self.flags) })
    }

    /// Reads the item that begins with `first`.
    fn item(&mut self, first: char) -> Read<()> {
        let (item, repetition) = match first {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' if self.group().is_verbose => return Ok(()),
            '#' if self.group().is_verbose => {
                while self.next().is_some_and(|c| c != '\n') {}
                return Ok(());
            }
            '(' => return self.begin_group(),
            ')' => return self.end_group(),
            '|' => return self.begin_branch(),
            '*' | '+' | '?' => return self.repeat(&first.to_string()),
            '{' => match self.counts()? {
                Some(counts) => return self.repeat(&counts),
                None => (literal('{'), Repetition::Possible),
            },
            '^' | '$' => (first.to_string(), Repetition::Nothing),
            '.' => (".".to_owned(), Repetition::Possible),
            '[' => (self.class()?, Repetition::Possible),
            '\\' => self.escape()?,
            other => (literal(other), Repetition::Possible),
        };
        self.group().add(item, repetition);
        Ok(())
    }

    fn begin_branch(&mut self) -> Read<()> {
        let group = self.group();
        group.branches += 1;
        group.add("|".to_owned(), Repetition::Nothing);
        match group.kind {
            Kind::Conditional if group.branches > 1 => {
                Err("a condition has more than two branches".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Reads what follows `(`.
    fn begin_group(&mut self) -> Read<()> {
        if !self.eat("?") {
            return self.push_capture();
        }
        if self.eat("#") {
            return self.until(')').map(drop);
        }
        if self.eat("P=") {
            self.needs_backtracking = true;
            let name = self.until(')')?;
            let reference = self.reference_to(self.named(&name)?)?;
            self.group().add(reference, Repetition::Possible);
            return Ok(());
        }
        if self.eat("(") {
            return self.begin_conditional();
        }
        for opening in ["=", "!", "<=", "<!"] {
            if self.eat(opening) {
                self.needs_backtracking = true;
                return self.push_group(format!("(?{opening}"), Kind::Assertion);
            }
        }
        if self.eat(">") {
            self.needs_backtracking = true;
            return self.push_group("(?>".to_owned(), Kind::Plain);
        }
        if self.eat("P<") || self.eat("<") {
            let name = self.until('>')?;
            let number = self.captures.len() + 1;
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
                return Err(format!("'{name}' is not a name of a group"));
            }
            if self.names.insert(name.clone(), number).is_some() {
                return Err(format!("there are two groups '{name}'"));
            }
            return self.push_capture();
        }
        self.begin_flags()
    }

    fn push_group(&mut self, opening: String, kind: Kind) -> Read<()> {
        if self.open.len() > DEPTH {
            return Err(format!("groups are nested more than {DEPTH} deep"));
        }
        let is_verbose = self.group().is_verbose;
        self.open.push(Group { opening, kind, is_verbose, ..Group::default() });
        Ok(())
    }

    fn push_capture(&mut self) -> Read<()> {
        self.captures.push(false);
        self.push_group("(".to_owned(), Kind::Capture(self.captures.len()))
    }

    /// Reads what follows `(?(`.
    fn begin_conditional(&mut self) -> Read<()> {
        self.needs_backtracking = true;
        let asked = self.until(')')?;
        let number = match asked.parse() {
            Ok(0) => return Err("there is no group 0".to_owned()),
            Ok(number) => number,
            Err(_) => self.named(&asked)?,
        };
        self.last_condition = self.last_condition.max(number);
        self.push_group(format!("(?({number})"), Kind::Conditional)
    }

    /// Reads what follows `(?` if it is flags, of the whole pattern or of a group.
    fn begin_flags(&mut self) -> Read<()> {
        let (mut set, mut unset, mut is_unsetting) = (String::new(), String::new(), false);
        loop {
            match self.next() {
                Some(flag @ ('i' | 'm' | 's' | 'x')) if is_unsetting => unset.push(flag),
                Some(flag @ ('i' | 'm' | 's' | 'x')) => set.push(flag),
                // Names of images are ASCII text.
                Some('a' | 'u') if !is_unsetting => {}
                Some('-') if !is_unsetting => is_unsetting = true,
                Some(':') => return self.begin_group_with_flags(&set, &unset),
                Some(')') if !is_unsetting => return self.set_flags(&set),
                Some(other) => return Err(format!("a group can't begin with '(?' and '{other}'")),
                None => return Err("a group is not closed".to_owned()),
            }
        }
    }

    fn begin_group_with_flags(&mut self, set: &str, unset: &str) -> Read<()> {
        let unset_known = unset.replace('x', "");
        let minus = if unset_known.is_empty() { "" } else { "-" };
        let opening = format!("(?{}{minus}{unset_known}:", set.replace('x', ""));
        self.push_group(opening, Kind::Plain)?;
        let group = self.group();
        group.is_verbose = (group.is_verbose || set.contains('x')) && !unset.contains('x');
        Ok(())
    }

    /// Sets flags of the whole pattern.
    fn set_flags(&mut self, flags: &str) -> Read<()> {
        let is_inner = self.open.len() > 1;
        let whole = self.group();
        if is_inner || !whole.item.is_empty() {
            return Err(format!("the flags '(?{flags})' are not at the start"));
        }
        whole.is_verbose |= flags.contains('x');
        self.flags.push_str(&flags.replace('x', ""));
        Ok(())
    }

    fn end_group(&mut self) -> Read<()> {
        if self.open.len() == 1 {
            return Err("a group is closed that is not open".to_owned());
        }
        let closed = self.open.pop().expect("not the last");
        let Group { opening, text, item, repetition, kind, branches, .. } = closed;
        if let Kind::Capture(number) = kind {
            self.captures[number - 1] = true;
        }
        let repetition = match (kind, repetition) {
            (Kind::Assertion, _) => Repetition::OfAssertion,
            (Kind::Plain, Repetition::OfAssertion) if text.is_empty() => Repetition::OfAssertion,
            _ => Repetition::Possible,
        };
        let ending = match kind {
            Kind::Conditional if branches == 0 => "|)",
            _ => ")",
        };
        self.group().add(format!("{opening}{text}{item}{ending}"), repetition);
        Ok(())
    }

    /// Reads what follows `{`; `None` if the brace is a literal.
    fn counts(&mut self) -> Read<Option<String>> {
        let begin = self.position;
        let least = self.digits(10, usize::MAX);
        let most = if self.eat(",") { Some(self.digits(10, usize::MAX)) } else { None };
        if !self.eat("}") || (least.is_empty() && most.is_none()) {
            self.position = begin;
            return Ok(None);
        }
        let number = |digits: &str| digits.parse().unwrap_or(u64::MAX);
        if let Some(most) = most.as_deref().filter(|most| !most.is_empty())
            && number(most) < number(if least.is_empty() { "0" } else { &least })
        {
            return Err("the least count of a repetition exceeds the most".to_owned());
        }
        let least = if least.is_empty() { "0" } else { &least };
        Ok(Some(match most {
            Some(most) => format!("{{{least},{most}}}"),
            None => format!("{{{least}}}"),
        }))
    }

    /// Repeats the last item, `count` being `*`, `+`, `?` or counts in braces.
    fn repeat(&mut self, count: &str) -> Read<()> {
        let is_lazy = self.eat("?");
        let is_possessive = !is_lazy && self.eat("+");
        self.needs_backtracking |= is_possessive;
        let is_optional = ["*", "?"].contains(&count) || count.starts_with("{0");
        let group = self.group();
        let is_assertion = match group.repetition {
            Repetition::Nothing => return Err("there is nothing to repeat".to_owned()),
            Repetition::Done => return Err("a repetition is repeated".to_owned()),
            Repetition::Possible => false,
            Repetition::OfAssertion => true,
        };
        let item = std::mem::take(&mut group.item);
        group.item = match (is_lazy, is_possessive) {
            _ if is_assertion && !is_optional => item,
            (true, _) if is_assertion => format!("(?:|{item})"),
            (_, true) if is_assertion => format!("(?>{item}|)"),
            _ if is_assertion => format!("(?:{item}|)"),
            (true, _) => format!("{item}{count}?"),
            (_, true) => format!("(?>{item}{count})"),
            _ => format!("{item}{count}"),
        };
        group.repetition = Repetition::Done;
        Ok(())
    }

    /// Reads what follows `[`.
    fn class(&mut self) -> Read<String> {
        let mut class = if self.eat("^") { "[^".to_owned() } else { "[".to_owned() };
        let first = self.position;
        loop {
            let at = self.position;
            let begin = self.next().ok_or("a class is not closed")?;
            if begin == ']' && at > first {
                class.push(']');
                return Ok(class);
            }
            self.refuse_two_meanings(begin, at > first)?;
            let low = self.member(begin)?;
            let is_range = self.peek() == Some('-')
                && self.characters.get(self.position + 1).is_some_and(|c| *c != ']');
            if !is_range {
                class.push_str(&match low {
                    Member::One(character) => literal(character),
                    Member::Set(escape) => escape,
                });
                continue;
            }
            self.position += 1;
            let end = self.next().ok_or("a class is not closed")?;
            match (low, self.member(end)?) {
                (Member::One(low), Member::One(high)) if low <= high => {
                    class.push_str(&format!("{}-{}", literal(low), literal(high)));
                }
                _ => return Err("the range of a class has no order".to_owned()),
            }
        }
    }

    /// Refuses what is a set of characters for the `regex` crate, and single characters for Python.
    fn refuse_two_meanings(&self, begin: char, is_inner: bool) -> Read<()> {
        let rest = &self.characters[self.position..];
        let is_operator = is_inner && "&~-".contains(begin) && rest.first() == Some(&begin);
        let is_named = begin == '[' && rest.first() == Some(&':');
        if !is_operator && !is_named {
            return Ok(());
        }
        let told: String = [begin, rest[0]].into_iter().collect();
        Err(format!("'{told}' in a class has different meanings for Python and the regex crate"))
    }

    /// Reads the member of a class that begins with `begin`.
    fn member(&mut self, begin: char) -> Read<Member> {
        if begin != '\\' {
            return Ok(Member::One(begin));
        }
        Ok(match self.next().ok_or("a backslash is at the end")? {
            set @ ('d' | 'D' | 's' | 'S' | 'w' | 'W') => Member::Set(format!("\\{set}")),
            'b' => Member::One('\x08'),
            '0'..='7' => {
                self.position -= 1;
                let digits = self.digits(8, 3);
                Member::One(octal(&digits)?)
            }
            other => Member::One(self.character(other)?),
        })
    }

    /// Reads what follows a backslash outside of a class.
    fn escape(&mut self) -> Read<(String, Repetition)> {
        let escaped = self.next().ok_or("a backslash is at the end")?;
        Ok(match escaped {
            'A' | 'b' | 'B' => (format!("\\{escaped}"), Repetition::Nothing),
            'Z' | 'z' => (r"\z".to_owned(), Repetition::Nothing),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => (format!("\\{escaped}"), Repetition::Possible),
            '0' => {
                let digits = self.digits(8, 2);
                (literal(octal(&format!("0{digits}"))?), Repetition::Possible)
            }
            '1'..='9' => {
                self.position -= 1;
                (self.number()?, Repetition::Possible)
            }
            other => (literal(self.character(other)?), Repetition::Possible),
        })
    }

    /// Reads the number after a backslash: three octal digits are a character, others a reference.
    fn number(&mut self) -> Read<String> {
        let begin = self.position;
        let digits = self.digits(8, 3);
        if digits.len() == 3 {
            return Ok(literal(octal(&digits)?));
        }
        self.position = begin;
        let digits = self.digits(10, 2);
        self.reference_to(digits.parse().expect("one or two digits"))
    }

    fn named(&self, name: &str) -> Read<usize> {
        self.names.get(name).copied().ok_or_else(|| format!("there is no group '{name}'"))
    }

    /// Returns a reference to a group before it.
    fn reference_to(&mut self, number: usize) -> Read<String> {
        self.needs_backtracking = true;
        match self.captures.get(number - 1) {
            Some(true) => Ok(format!(r"(?:\{number})")),
            Some(false) => Err(format!("group {number} refers to itself")),
            None => Err(format!("there is no group {number}")),
        }
    }

    /// Reads the rest of an escape for a single character.
    fn character(&mut self, escaped: char) -> Read<char> {
        let length = match escaped {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            'a' => return Ok('\x07'),
            'f' => return Ok('\x0c'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\x0b'),
            other if other.is_ascii_alphanumeric() => {
                return Err(format!("'\\{other}' has no meaning"));
            }
            other => return Ok(other),
        };
        let digits = self.digits(16, length);
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == length);
        code.and_then(char::from_u32)
            .ok_or_else(|| format!("'\\{escaped}{digits}' is not a character"))
    }
}

fn octal(digits: &str) -> Read<char> {
    let code = u8::from_str_radix(digits, 8);
    code.map(char::from).map_err(|_| format!("'\\{digits}' is not a character"))
}

/// Returns the text that matches a character, in a class or outside.
fn literal(character: char) -> String {
    if character.is_alphanumeric() || character == '_' {
        return character.to_string();
    }
    format!(r"\x{{{:x}}}", u32::from(character))
}
