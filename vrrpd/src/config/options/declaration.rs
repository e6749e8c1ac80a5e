//! Properties of an option other than its value.

/// How an option is written.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The key in the configuration file.
    pub name: &'static str,
    /// The option as it is written on the command line: `-i`, `--vmac`; for addresses `ADDR`.
    pub flag: &'static str,
    /// The argument after the flag.
    pub argument: Argument,
    /// The type in TOML.
    pub toml: Toml,
    /// The text of `--help`.
    pub help: &'static str,
}

/// The argument of an option on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// None: the flag stands for this value.
    Switch(&'static str),
    /// A value, with its name in the help.
    Value(&'static str),
    /// A value; the option can be repeated.
    Repeated(&'static str),
    /// Optional `=VALUE`: its name in the help, and the value if it is missing.
    Optional(&'static str, &'static str),
    /// No flag: a positional argument.
    Positional(&'static str),
}

/// TOML types of options; a string is always accepted too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toml {
    /// Only a string.
    Text,
    /// An integer, 0 to 255.
    Number,
    /// true or false.
    Boolean,
    /// An array of strings.
    List,
    /// An array of strings or tables: addresses with options as in `ip address add`, or with these as keys.
    Addresses,
    /// A string (path of a program), or an array of strings (path and arguments).
    Command,
}

impl Toml {
    /// Whether each item of a list is a value of the option.
    pub const fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Addresses)
    }
}

impl Declaration {
    /// The letter of an option with one hyphen.
    pub fn letter(&self) -> Option<char> {
        self.flag.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?.chars().next()
    }
}
