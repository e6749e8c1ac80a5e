//! The initramfs of a machine, its whole file system: cpio in the format "newc", see
//! `Documentation/driver-api/early-userspace/buffer-format.rst` of the kernel.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Component, Path};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Writes an archive, to be ended by [`Initramfs::finish`].
pub(super) struct Initramfs<W> {
    to: W,
    /// Directories added.
    directories: BTreeSet<String>,
    entries: u32,
}

impl<W: Write> Initramfs<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, directories: BTreeSet::new(), entries: 0 }
    }

    /// Adds an empty directory, with its parents.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        let mut above = String::new();
        for part in Path::new(path).components() {
            let Component::Normal(name) = part else { continue };
            if !above.is_empty() {
                above.push('/');
            }
            above.push_str(&name.to_string_lossy());
            if self.directories.insert(above.clone()) {
                self.entry(&above, DIRECTORY, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a readable and executable file, with its parent directories.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        if let Some((directory, _)) = path.rsplit_once('/') {
            self.directory(directory)?;
        }
        self.entry(path, PROGRAM, content)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.to.flush()
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let size = u32::try_from(content.len()).map_err(too_long)?;
        let name_size = u32::try_from(path.len() + 1).map_err(too_long)?;
        // inode, mode, user, group, links, time, size, device of the file (2), device it is (2), length of the name, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let fields = fields.map(|field| format!("{field:08x}")).concat();
        let header = format!("070701{fields}{path}\0");
        self.padded(header.as_bytes())?;
        self.padded(content)
    }

    /// Names and contents are padded to a multiple of four octets.
    fn padded(&mut self, octets: &[u8]) -> io::Result<()> {
        self.to.write_all(octets)?;
        self.to.write_all(&[0; 3][..octets.len().wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_is_padded_and_has_each_directory_once() {
        let mut archive = Vec::new();
        let mut initramfs = Initramfs::new(&mut archive);
        initramfs.file("/a/b/one", b"12345").expect("memory takes all");
        initramfs.file("/a/b/two", b"").expect("memory takes all");
        initramfs.finish().expect("memory takes all");
        assert_eq!(archive.len() % 4, 0);
        let headers: Vec<_> =
            archive.windows(6).enumerate().filter(|(_, octets)| octets == b"070701").collect();
        assert!(headers.iter().all(|(at, _)| at % 4 == 0));
        assert_eq!(headers.len(), 5, "two directories, two files and the end");
        let text = String::from_utf8_lossy(&archive);
        assert!(text.contains("a/b/one\0") && text.contains("12345\0\0\x00070701"));
        assert!(text.contains("TRAILER!!!"));
    }
}
