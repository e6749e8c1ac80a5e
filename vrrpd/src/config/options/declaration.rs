//! What is known of an option beside its value.

use super::Key;

/// What an option is called, where it can be written and how.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The key in the configuration file.
    pub name: &'static str,
    /// The option as it is written on the command line: `-i`, `--vmac`; for addresses `ADDR`.
    pub flag: &'static str,
    /// What follows the flag.
    pub argument: Argument,
    /// How the value is written in TOML.
    pub toml: Toml,
    /// The text of `--help`.
    pub help: &'static str,
}

/// What follows an option on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing: the option alone stands for this value.
    Switch(&'static str),
    /// A value, which the help calls so.
    Value(&'static str),
    /// A value, any number of times.
    Repeated(&'static str),
    /// `=VALUE`, or nothing, which stands for this value.
    Optional(&'static str, &'static str),
    /// There is no flag: values stand alone.
    Positional(&'static str),
}

/// How the values of an option are written in TOML; any of them can be a string as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toml {
    /// A string and nothing else.
    Text,
    /// An integer, 0 to 255.
    Number,
    /// true or false.
    Boolean,
    /// An array of strings.
    List,
    /// An array of strings or tables: addresses, with words of `ip address add` or the same as keys.
    Addresses,
    /// A string, the path of a program, or an array of strings, the path and the arguments.
    Command,
}

impl Toml {
    /// Whether each value of the list is one of the option.
    pub const fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Addresses)
    }
}

/// A letter that gives an option a certain value.
#[derive(Clone, Copy, Debug)]
pub struct Shorthand {
    /// `-n`
    pub flag: &'static str,
    /// The option.
    pub key: Key,
    /// Its value.
    pub value: &'static str,
    /// The text of `--help`.
    pub help: &'static str,
}

impl Declaration {
    /// The letter of an option with one hyphen.
    pub fn letter(&self) -> Option<char> {
        self.flag.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?.chars().next()
    }
}
