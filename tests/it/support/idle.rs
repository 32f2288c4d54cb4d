//! Fake engine that is reachable and has no images.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

/// Starts the engine and returns its address.
pub fn idle_engine() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&connection));
        }
    });
    address
}

fn answer(connection: &TcpStream) {
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    let mut request = String::new();
    while reader.read_line(&mut request).is_ok_and(|read| read > 0) {
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            line.clear();
        }
        let body = match request.as_str() {
            r if r.contains("/version") => {
                r#"{"Version":"0","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#
            }
            r if r.contains("/images/json") => "[]",
            _ => "{}",
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
        if write!(writer, "{head}{}\r\n\r\n{body}", body.len()).is_err() {
            return;
        }
        request.clear();
    }
}
