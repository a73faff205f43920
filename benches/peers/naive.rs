//! The simplest mirror that keeps its promise: a thread a connection, and each PUT is written, synced and renamed on one
//! drive, then on the other, and then answered. Of the wire it has hello, put, get of whole files, ls and mkdir.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use crate::content::PIECE;

const HEADER_BYTES_MAX: u64 = 16 << 10;
/// Files up to here are answered in one write.
const TOGETHER_BYTES: u64 = 64 << 10;
const STACK_BYTES: usize = 256 << 10;

/// Serves two drives until the process is ended.
pub(crate) fn serve(drives: [PathBuf; 2]) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    let drives = Arc::new(drives);
    for stream in listener.incoming() {
        let (stream, drives) = (stream?, Arc::clone(&drives));
        // A client that left, or said what it should not: its connection ends.
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || drop(session(&stream, &drives)))?;
    }
    Ok(())
}

fn session(stream: &TcpStream, drives: &[PathBuf; 2]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some(request) = read_line(&mut reader)? {
        let path = request["path"].as_str().unwrap_or_default();
        if path.split('/').any(|name| name == "..") {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let answered = match request["op"].as_str() {
            None => Ok(json!({"ok": true, "server": "naive"})),
            Some("put") => {
                let len = request["len"].as_u64().ok_or(io::ErrorKind::InvalidInput)?;
                put(&mut reader, drives, path, len)?
            }
            Some("mkdir") => {
                drives.iter().try_for_each(|drive| fs::create_dir_all(drive.join(path))).map(|()| json!({"ok": true}))
            }
            Some("get") => match File::open(drives[0].join(path)) {
                Ok(file) => {
                    get(writer, file)?;
                    continue;
                }
                Err(error) => Err(error),
            },
            Some("ls") => match list(&drives[0].join(path)) {
                Ok(listed) => {
                    writer.write_all(&together(&listed))?;
                    continue;
                }
                Err(error) => Err(error),
            },
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        let answer = answered.unwrap_or_else(|error| json!({"ok": false, "error": "io", "message": error.to_string()}));
        writer.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Value>> {
    let mut line = Vec::new();
    if reader.take(HEADER_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// The outer result is the connection's, the inner one the file's.
fn put(reader: &mut impl BufRead, drives: &[PathBuf; 2], path: &str, len: u64) -> io::Result<io::Result<Value>> {
    let part = format!(".part-{:?}", thread::current().id());
    let mut files = [File::create(drives[0].join(&part))?, File::create(drives[1].join(&part))?];
    let mut hasher = crc32fast::Hasher::new();
    let mut piece = vec![0; PIECE.min(usize::try_from(len).unwrap_or(PIECE))];
    let mut left = len;
    while left > 0 {
        let most = piece.len().min(usize::try_from(left).unwrap_or(PIECE));
        let read = reader.read(&mut piece[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&piece[..read]);
        for file in &mut files {
            file.write_all(&piece[..read])?;
        }
        left -= read as u64;
    }
    let crc32 = format!("{:08x}", hasher.finalize());
    let trailer = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if trailer["crc32"] != crc32 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut stored = drives.iter().zip(files).map(|(drive, file)| store(drive, &part, &file, path));
    Ok(stored.try_for_each(|stored| stored).map(|()| json!({"ok": true, "crc32": crc32})))
}

fn store(drive: &Path, part: &str, file: &File, path: &str) -> io::Result<()> {
    let to = drive.join(path);
    file.sync_data()?;
    fs::rename(drive.join(part), &to)?;
    to.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn trailer(crc32: u32) -> String {
    format!("{{\"ok\":true,\"crc32\":\"{crc32:08x}\"}}\n")
}

fn together(body: &[u8]) -> Vec<u8> {
    let head = format!("{}\n", json!({"ok": true, "len": body.len()}));
    [head.as_bytes(), body, trailer(crc32fast::hash(body)).as_bytes()].concat()
}

fn get(mut writer: &TcpStream, mut file: File) -> io::Result<()> {
    let len = file.metadata()?.len();
    if len <= TOGETHER_BYTES {
        let mut body = Vec::new();
        file.read_to_end(&mut body)?;
        return writer.write_all(&together(&body));
    }
    writer.write_all(format!("{}\n", json!({"ok": true, "len": len})).as_bytes())?;
    let mut hasher = crc32fast::Hasher::new();
    let mut piece = vec![0; PIECE];
    let mut left = len;
    while left > 0 {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&piece[..read]);
        writer.write_all(&piece[..read])?;
        left -= read as u64;
    }
    writer.write_all(trailer(hasher.finalize()).as_bytes())
}

fn list(folder: &Path) -> io::Result<Vec<u8>> {
    let mut listed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let kind = if metadata.is_dir() { "folder" } else { "file" };
        let line = json!({"name": entry.file_name().to_string_lossy(), "kind": kind, "size": metadata.len()});
        writeln!(listed, "{line}")?;
    }
    Ok(listed)
}
