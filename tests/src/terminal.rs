//! A terminal: a program's stderr on it, and what somebody sees who sits before it.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::house::PATIENCE;

/// What a program wrote to a terminal.
#[derive(Debug)]
pub struct Shown {
    /// Every byte, escapes too.
    pub written: String,
    /// The lines that are to be seen at its end, without blanks behind them.
    pub lines: Vec<String>,
}

/// A terminal of so many columns.
pub struct Terminal {
    columns: u16,
    written: Arc<(Mutex<Vec<u8>>, Condvar)>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// The command's stderr, as far as nothing else has been said of it.
    pub fn of(command: &mut Command, columns: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal");
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("UTF-8");
        let slave = File::options().read(true).write(true).open(name).expect("a terminal");
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).expect("a size");
        command.stderr(Stdio::from(OwnedFd::from(slave)));
        let mut master = File::from(master);
        let written: Arc<(Mutex<Vec<u8>>, Condvar)> = Arc::default();
        let shared = written.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with an error when nobody has the other side open any more.
            while let Ok(read @ 1..) = master.read(&mut buffer) {
                shared.0.lock().expect("what was written").extend_from_slice(&buffer[..read]);
                shared.1.notify_all();
            }
        });
        Terminal { columns, written, reader }
    }

    /// Waits until this has been written.
    pub fn wait_for(&self, text: &str) {
        let written = self.written.0.lock().expect("what was written");
        let lacks = |written: &mut Vec<u8>| !String::from_utf8_lossy(written).contains(text);
        let (written, waited) =
            self.written.1.wait_timeout_while(written, PATIENCE, lacks).expect("what was written");
        assert!(!waited.timed_out(), "no {text:?} in {:?}", String::from_utf8_lossy(&written));
    }

    /// When the command has ended, and no other holds it.
    pub fn shown(self) -> Shown {
        self.reader.join().expect("a thread");
        let written = self.written.0.lock().expect("what was written").clone();
        let written = String::from_utf8(written).expect("UTF-8");
        let lines = lines(&written, usize::from(self.columns));
        Shown { written, lines }
    }
}

/// Runs it to its end. Gives what it wrote to stdout too, and whether it succeeded.
pub fn on_terminal(mut command: Command, columns: u16) -> (String, Shown, bool) {
    let terminal = Terminal::of(&mut command, columns);
    let child = command.stdout(Stdio::piped()).spawn().expect("a program");
    // It holds the terminal open.
    drop(command);
    let output = child.wait_with_output().expect("an end");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    (stdout, terminal.shown(), output.status.success())
}

/// As far as programs here use what ECMA-48 has: back to the beginning, a line up or down, a line erased. A line
/// that is full goes on below when more comes.
fn lines(written: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut line, mut column) = (0, 0);
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        match character {
            '\r' => column = 0,
            '\n' => line += 1,
            '\u{1b}' => match characters.by_ref().take(3).collect::<String>().as_str() {
                "[1A" => line -= 1,
                "[1B" => line += 1,
                "[2K" => lines[line].clear(),
                other => panic!("a sequence that this terminal does not know: {other:?}"),
            },
            character => {
                if column == columns {
                    (line, column) = (line + 1, 0);
                }
                lines.resize_with(lines.len().max(line + 1), Vec::new);
                let length = lines[line].len().max(column + 1);
                lines[line].resize(length, ' ');
                lines[line][column] = character;
                column += 1;
            }
        }
        lines.resize_with(lines.len().max(line + 1), Vec::new);
    }
    let line = |line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned();
    lines.into_iter().map(line).collect()
}
