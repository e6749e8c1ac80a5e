//! From the text of keepalived.conf to lines of words: comments, quotes, `@` conditions, `$variables`, `~SEQ` and
//! `~LST` blocks, and `include`.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::super::{ImportError, Remark, RemarkKind, SourceLine, Surroundings};
use super::block::{Block, BlockError, MAX_LINES};
use super::words::{Token, tokens, without_comment};

/// Deeper nested includes count as a cycle.
const MAX_INCLUDES: usize = 32;
/// Maximum number of patterns from the braces of an `include`.
const MAX_PATTERNS: usize = 1000;
/// Deeper nested variables count as a cycle.
const MAX_SUBSTITUTIONS: usize = 64;
/// Maximum length of a line with its variables replaced, in octets.
const MAX_LINE: usize = 1 << 16;

/// A resulting line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: SourceLine,
    pub(super) tokens: Vec<Token>,
}

/// The lines of a file and its includes, and the remarks.
pub(super) fn lines(
    path: &Path,
    text: &str,
    surroundings: &dyn Surroundings,
) -> Result<(Vec<Line>, Vec<Remark>), ImportError> {
    let character = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut reader = Reader {
        surroundings,
        variables: [
            character("_HASH", "#"),
            character("_BANG", "!"),
            character("_INSTANCE", surroundings.config_id()),
        ]
        .into(),
        lines: Vec::new(),
        repeated: 0,
        remarks: Vec::new(),
        depth: 0,
    };
    reader.file(path, text)?;
    Ok((reader.lines, reader.remarks))
}

struct Reader<'a> {
    surroundings: &'a dyn Surroundings,
    variables: BTreeMap<String, String>,
    lines: Vec<Line>,
    /// Lines produced by blocks, including empty ones.
    repeated: usize,
    remarks: Vec<Remark>,
    /// Depth of includes.
    depth: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, text: &str) -> Result<(), ImportError> {
        let file: Rc<Path> = path.into();
        let directory = self.surroundings.absolute(path.parent().unwrap_or(Path::new("")));
        self.variables.insert("_PWD".to_owned(), directory.display().to_string());
        let mut numbered = text.lines().enumerate();
        while let Some((index, line)) = numbered.next() {
            let place = SourceLine { file: Rc::clone(&file), line: index + 1 };
            let (first, mut goes_on) = continued(line);
            let mut line = without_comment(line).to_owned();
            // The value of a variable continues while lines end with a backslash, even in a comment.
            if definition(line.trim_start()).is_some() {
                first.clone_into(&mut line);
                while goes_on && let Some((_, next)) = numbered.next() {
                    let (next, is_continued) = continued(next);
                    line = format!("{}\n{next}", line.trim_end());
                    goes_on = is_continued;
                }
            }
            self.line(&place, line.trim(), 0)?;
        }
        Ok(())
    }

    /// Handles a line without its comment. `depth` is the depth of substitutions.
    fn line(&mut self, place: &SourceLine, line: &str, depth: usize) -> Result<(), ImportError> {
        let wrong = |message: &str| ImportError::Wrong { place: place.clone(), message: message.to_owned() };
        if depth > MAX_SUBSTITUTIONS {
            return Err(wrong("the variables refer to each other in a circle"));
        }
        if line.len() > MAX_LINE {
            return Err(wrong("the line has more than 65536 characters with its variables replaced"));
        }
        if self.repeated > MAX_LINES {
            return Err(wrong("the blocks yield more than 100000 lines"));
        }
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        if let Some(condition) = line.strip_prefix('@') {
            let (id, rest) = condition.split_once(char::is_whitespace).unwrap_or((condition, ""));
            let holds = match id.strip_prefix('^') {
                Some(other) => other != self.surroundings.config_id(),
                None => id == self.surroundings.config_id(),
            };
            return if holds { self.line(place, rest, depth) } else { Ok(()) };
        }
        if let Some((name, value)) = definition(line) {
            self.variables.insert(name.to_owned(), value.trim_start().to_owned());
            return Ok(());
        }
        // Variables of the block itself; those of the repeated line are replaced later.
        let substituted = match line.split_once(')').filter(|_| line.starts_with('~')) {
            Some((block, rest)) => format!("{}{rest}", self.substitute(place, &format!("{block})"))),
            None => line.to_owned(),
        };
        let block = match Block::read(&substituted) {
            Ok(block) => block,
            Err(error @ BlockError::Endless(_)) => return Err(wrong(&error.to_string())),
            Err(error) => {
                let keyword = line.split('(').next().unwrap_or_default();
                self.remark(
                    place,
                    RemarkKind::LeftOut,
                    keyword,
                    format!("{error}; keepalived ignores it too"),
                );
                return Ok(());
            }
        };
        if let Some(block) = block {
            for values in &block.values {
                for (name, value) in block.names.iter().zip(values) {
                    self.variables.insert(name.clone(), value.clone());
                }
                self.repeated += 1;
                self.line(place, block.rest, depth + 1)?;
            }
            return Ok(());
        }
        if let Some((keyword, pattern)) = line.split_once(char::is_whitespace)
            && matches!(keyword, "include" | "includer" | "includem" | "includew" | "includeb" | "includea")
        {
            return self.include(place, pattern.trim());
        }
        let substituted = self.substitute(place, line);
        if substituted != line {
            for line in substituted.lines() {
                self.line(place, line, depth + 1)?;
            }
            return Ok(());
        }
        // A value such as ${_HASH} can begin a comment.
        let tokens = tokens(without_comment(line)).map_err(|error| wrong(&error.to_string()))?;
        self.lines.push(Line { place: place.clone(), tokens });
        Ok(())
    }

    fn remark(&mut self, place: &SourceLine, kind: RemarkKind, keyword: &str, message: String) {
        let keyword = keyword.to_owned();
        let remark = Remark { place: place.clone(), kind, keyword, message };
        // A repeated line has the same remark each time.
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// Replaces each known variable once; variables in a value are replaced in a later pass. A line that gets too long
    /// is truncated.
    fn substitute(&mut self, place: &SourceLine, line: &str) -> String {
        let mut result = String::with_capacity(line.len());
        let mut rest = line;
        while result.len() <= MAX_LINE
            && let Some(at) = rest.find('$')
        {
            let (before, from) = rest.split_at(at);
            result.push_str(before);
            let reference = self.random(place, from).or_else(|| self.reference(from));
            let (value, length) = reference.unwrap_or_else(|| ("$".to_owned(), 1));
            result.push_str(&value);
            rest = &from[length..];
        }
        result.push_str(rest);
        result
    }

    /// The value of the variable at the start of a text, and the length of its reference in octets. A multi-line value
    /// is allowed only at the end of a line.
    fn reference(&self, text: &str) -> Option<(String, usize)> {
        let after = text.strip_prefix('$')?;
        let (value, length) = if let Some(inner) = after.strip_prefix('{') {
            let end = inner.find('}')?;
            let name = &inner[..end];
            let value = match name.strip_prefix("_ENV ") {
                Some(variable) => self.surroundings.variable(variable.trim()),
                None => self.variables.get(name).cloned(),
            };
            (value?, end + 3)
        } else {
            let length = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
            let (name, behind) = after.split_at(length);
            let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ')');
            let value = self.variables.get(name).filter(|_| behind.is_empty() || behind.starts_with(ends));
            (value?.clone(), length + 1)
        };
        (length == text.len() || !value.contains('\n')).then_some((value, length))
    }

    /// `${_RANDOM [MIN [MAX]]}` at the start of a text: the minimum, and the length of the reference in octets.
    fn random(&mut self, place: &SourceLine, text: &str) -> Option<(String, usize)> {
        let (inner, _) = text.strip_prefix("${_RANDOM")?.split_once('}')?;
        if !inner.is_empty() && !inner.starts_with(char::is_whitespace) {
            return None;
        }
        let least = inner.split_whitespace().next().unwrap_or("0").to_owned();
        self.remark(
            place,
            RemarkKind::Differs,
            "_RANDOM",
            format!("keepalived draws a number at each start; here it is {least}"),
        );
        Some((least, "${_RANDOM".len() + inner.len() + 1))
    }

    fn include(&mut self, place: &SourceLine, pattern: &str) -> Result<(), ImportError> {
        let wrong = |message: String| ImportError::Wrong { place: place.clone(), message };
        if self.depth >= MAX_INCLUDES {
            return Err(wrong(format!("files include each other more than {MAX_INCLUDES} deep")));
        }
        let directory = place.file.parent().unwrap_or(Path::new(""));
        let mut files = Vec::new();
        for pattern in alternatives(pattern) {
            files.extend(self.surroundings.matching(&directory.join(pattern).to_string_lossy()));
        }
        if files.is_empty() && !pattern.contains(['*', '?', '[', '{']) {
            let message = format!("{pattern} not found; keepalived continues without it too");
            self.remark(place, RemarkKind::LeftOut, "include", message);
        }
        let own = self.variables.get("_PWD").cloned();
        for path in files {
            let text = self.surroundings.read(&path).map_err(|error| {
                wrong(format!("{} is included and cannot be read: {error}", path.display()))
            })?;
            self.depth += 1;
            self.file(&path, &text)?;
            self.depth -= 1;
        }
        if let Some(own) = own {
            self.variables.insert("_PWD".to_owned(), own);
        }
        Ok(())
    }
}

/// A line without its comment and continuation backslash, and whether it had one, even in the comment.
fn continued(line: &str) -> (&str, bool) {
    let text = without_comment(line).trim_end();
    match text.strip_suffix('\\') {
        Some(text) => (text, true),
        None => (text, line.trim_end().ends_with('\\')),
    }
}

/// `$NAME=VALUE`
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    let legal = name.chars().all(is_name) && name.starts_with(|c: char| !c.is_ascii_digit());
    (legal && !name.is_empty()).then_some((name, value))
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// The patterns that braces expand to: `a{b,c{d,e}}` is `ab`, `acd` and `ace`. If there are too many, the pattern
/// itself.
fn alternatives(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(next) = open.pop() {
        match choices(&next) {
            Some(choices) => open.extend(choices.into_iter().rev()),
            None => done.push(next),
        }
        if done.len() + open.len() > MAX_PATTERNS {
            return vec![pattern.to_owned()];
        }
    }
    done
}

/// A pattern with each alternative of its first braces; `None` without braces.
fn choices(pattern: &str) -> Option<Vec<String>> {
    let (before, behind) = pattern.split_once('{')?;
    let mut depth = 1;
    let mut begin = 0;
    let mut choices = Vec::new();
    for (at, character) in behind.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || depth == 1 && character == ',' {
            choices.push(&behind[begin..at]);
            begin = at + 1;
        }
        if depth == 0 {
            let rest = &behind[begin..];
            return Some(choices.iter().map(|choice| format!("{before}{choice}{rest}")).collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    /// A host named `me` with three files.
    struct Host;

    impl Surroundings for Host {
        fn read(&self, path: &Path) -> io::Result<String> {
            Ok(format!("in {}\n", path.display()))
        }

        fn matching(&self, pattern: &str) -> Vec<PathBuf> {
            let known = ["a.conf", "b.conf", "c"].into_iter().filter(|name| *name == pattern);
            known.map(PathBuf::from).collect()
        }

        fn absolute(&self, _: &Path) -> PathBuf {
            "/etc/keepalived".into()
        }

        fn variable(&self, _: &str) -> Option<String> {
            None
        }

        fn config_id(&self) -> &'static str {
            "me"
        }
    }

    /// The words of all lines, and the remarks.
    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let (lines, remarks) = lines(Path::new("k.conf"), text, &Host).expect("is read");
        let words = lines.iter().flat_map(|line| &line.tokens).map(|token| match token {
            Token::Words(words) => words.plain.join("|"),
            Token::Open => "{".to_owned(),
            Token::Close => "}".to_owned(),
        });
        (words.collect(), remarks.iter().map(ToString::to_string).collect())
    }

    /// Each case as in keepalived 2.2.7, which reports unknown words with `-t`.
    #[test]
    fn variables_blocks_and_conditions_are_resolved_as_keepalived_does_it() {
        const NET: &str = "$NET=10.0.0\n";
        for (text, wanted) in [
            ("$NET\n", &["10.0.0"][..]),
            ("a $NET\n", &["a|10.0.0"]),
            ("$NET.0.1\n", &["$NET.0.1"]),
            ("${NET}.0.1\n", &["10.0.0.0.1"]),
            ("$NET/24 $NET; $NET: $NET- $NETX\n", &["$NET/24|$NET;|$NET:|$NET-|$NETX"]),
            ("$NET, $NET) x$NET\n", &["10.0.0,|10.0.0)|x10.0.0"]),
            ("\"$NET\" \"$NET \" \"${NET}\"\n", &["$NET|10.0.0 |10.0.0"]),
            ("$NONE ${NONE}\n", &["$NONE|${NONE}"]),
            ("$A.B=x\n", &["$A.B=x"]),
            ("$SPACE = x\n", &["$SPACE|=|x"]),
            ("$9A=x\n", &["$9A=x"]),
            ("$A= x  \n${A}y\n", &["xy"]),
            ("$A=\n${A}y\n", &["y"]),
            ("$A=${NET}.${B}\n$B=1\n$A\n", &["10.0.0.1"]),
            ("$A=x y\n$A z\n", &["x|y|z"]),
            ("$A=x # y\n${A}\n", &["x"]),
            ("$A=\"x # y\"\n$A\n", &["x # y"]),
            ("$A=x \\\n y # c \\\n z\nb $A\n", &["b|x", "y", "z"]),
            ("$A=x \\ # c\n y\n$A\n", &["x", "y"]),
            ("$A=x \\\n y\n$A z\n${A}z\n", &["$A|z", "${A}z"]),
            ("$A=x \\\n\n y\n$A\n", &["y", "x"]),
            ("x${_HASH}y ${_BANG}\n\"${_HASH}${_BANG}\"\n", &["x", "#!"]),
            ("$_INSTANCE ${_PWD}/x\n", &["me|/etc/keepalived/x"]),
            ("@me a\n@^me b\n@^other c\n@ d\n", &["a", "c"]),
            ("@me $A=1\n@^me $A=2\n$A\n", &["1"]),
            ("~SEQ(A,3) ${A}\n", &["1", "2", "3"]),
            ("~SEQ(A,0) ${A}\n", &["1", "0"]),
            ("~SEQ(A,-2) ${A}\n", &["-1", "-2"]),
            ("~SEQ(A, 5, 3) ${A}\n", &["5", "4", "3"]),
            ("~SEQ(A,1,2,6)x$A\n", &["x1", "x3", "x5"]),
            ("~SEQx(A,8,0x0a) $A\n", &["8", "9", "a"]),
            ("$N=2\n~SEQ(A,1,$N) a$A\n~SEQ(A,${N}) b$A\n", &["a1", "a2", "b1", "b2"]),
            ("$F=~SEQ(A,1,2) $A\n$F\n", &["1", "2"]),
            ("~SEQ(A,1,2) ~LST(B,x,,y) ${A}-${B}\n", &["1-x", "1-", "1-y", "2-x", "2-", "2-y"]),
            ("~LST({A,B},{x,1},{y}) ${A}-${B}\n", &["x-1", "y-"]),
            ("include {a,b}.conf\n@me include c\n", &["in|a.conf", "in|b.conf", "in|c"]),
        ] {
            let (words, remarks) = read(&format!("{NET}{text}"));
            assert_eq!(words, wanted, "{text}");
            assert!(remarks.is_empty(), "{text}: {remarks:?}");
        }
    }

    #[test]
    fn braces_stand_for_each_choice_unless_there_are_too_many() {
        assert_eq!(alternatives("a{b,c{d,}}e"), ["abe", "acde", "ace"]);
        assert_eq!(alternatives("a{b,c"), ["a{b,c"]);
        let many = "{a,b}".repeat(20);
        assert_eq!(alternatives(&many), std::slice::from_ref(&many));
    }

    #[test]
    fn lines_that_keepalived_ignores_are_left_out_with_their_position() {
        for (text, remark) in [
            ("include none\n", "k.conf:1: left out: include: none not found; "),
            ("$D=a\ninclude $D.conf\n", "k.conf:2: left out: include: $D.conf not found; "),
            ("include \"c\"\n", "k.conf:1: left out: include: \"c\" not found; "),
            ("~SEQ(A,1,x) y\n", "k.conf:1: left out: ~SEQ: ~SEQ takes a name and numbers"),
            ("~SEQ(A,1,0,2) y\n", "k.conf:1: left out: ~SEQ: ~SEQ has step 0 "),
            ("~SEQ(A,3,1,1) y\n", "k.conf:1: left out: ~SEQ: ~SEQ has step 1 "),
            ("~LST(A) y\n", "k.conf:1: left out: ~LST: ~LST takes "),
            ("~LST(A,x y) y\n", "k.conf:1: left out: ~LST: ~LST takes "),
            ("~LST({A,B},{1,2,3}) y\n", "k.conf:1: left out: ~LST: ~LST takes "),
        ] {
            let (words, remarks) = read(text);
            assert!(words.is_empty(), "{text}: {words:?}");
            assert!(remarks.len() == 1 && remarks[0].starts_with(remark), "{text}: {remarks:?}");
        }
        let (words, remarks) = read("x${_RANDOM 5 9}${_RANDOM}\n");
        assert_eq!(words, ["x50"]);
        assert!(remarks[0].starts_with("k.conf:1: differs: _RANDOM: "), "{remarks:?}");
    }
}
