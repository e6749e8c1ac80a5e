//! HTTP check: a GET over plain HTTP/1.1.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vrrpd_engine::track::HttpRequest;

use super::poll::connect;

/// Maximum number of octets of an answer that are read.
const MAX_LEN: u64 = 64 << 10;

/// Why an answer is not the expected one.
#[derive(Debug, Error)]
pub(super) enum HttpError {
    #[error(transparent)]
    Connection(#[from] io::Error),
    #[error("the answer is not HTTP")]
    NoHttp,
    #[error("status {0}")]
    Status(u16),
    #[error("status {0}, but the text is missing")]
    Text(u16),
}

/// Makes one request; the server closes the connection after its answer.
pub(super) async fn get(request: &HttpRequest) -> Result<(), HttpError> {
    let mut stream = connect(request.server).await?;
    let HttpRequest { host, path, .. } = request;
    let asked = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: vrrpd\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).await?;
    let mut answer = Vec::new();
    if request.text.is_some() {
        stream.take(MAX_LEN).read_to_end(&mut answer).await?;
    } else {
        // Only the status is needed.
        while !answer.contains(&b'\n') && answer.len() < 1024 && stream.read_buf(&mut answer).await? > 0 {}
    }
    judge(request, &answer)
}

fn judge(request: &HttpRequest, answer: &[u8]) -> Result<(), HttpError> {
    let status = status(answer).ok_or(HttpError::NoHttp)?;
    if !request.status.map_or((200..400).contains(&status), |wanted| status == wanted) {
        return Err(HttpError::Status(status));
    }
    let Some(text) = &request.text else { return Ok(()) };
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    let body = answer.get(body..).unwrap_or_default();
    let has_text = body.windows(text.len()).any(|there| there == text.as_bytes());
    if has_text { Ok(()) } else { Err(HttpError::Text(status)) }
}

/// `HTTP/1.1 200 OK`
fn status(answer: &[u8]) -> Option<u16> {
    let line = str::from_utf8(answer.split(|octet| *octet == b'\n').next()?).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    rest.split(' ').nth(1)?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: Option<u16>, text: Option<&str>, answer: &str) -> Result<(), String> {
        let request = HttpRequest {
            server: ([127, 0, 0, 1], 80).into(),
            host: "127.0.0.1".to_owned(),
            path: "/".to_owned(),
            status,
            text: text.map(str::to_owned),
        };
        judge(&request, answer.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_is_judged_by_its_status_and_the_text_of_its_body() {
        let ok = "HTTP/1.1 200 OK\r\nX-State: fine\r\n\r\nall well\n";
        assert_eq!(judged(None, None, ok), Ok(()));
        assert_eq!(judged(None, Some("all well"), ok), Ok(()));
        assert_eq!(judged(None, Some("fine"), ok), Err("status 200, but the text is missing".to_owned()));
        assert_eq!(judged(None, None, "HTTP/1.0 302 Found\r\n\r\n"), Ok(()));
        assert_eq!(judged(None, None, "HTTP/1.1 503 No\r\n\r\n"), Err("status 503".to_owned()));
        assert_eq!(judged(Some(503), None, "HTTP/1.1 503\r\n\r\n"), Ok(()));
        assert_eq!(judged(Some(200), None, "HTTP/1.1 204 No\r\n"), Err("status 204".to_owned()));
        for wrong in ["", "SSH-2.0-x\r\n", "HTTP/1.1\r\n", "HTTP/1.1 abc\r\n"] {
            assert_eq!(judged(None, None, wrong), Err("the answer is not HTTP".to_owned()), "{wrong:?}");
        }
    }
}
