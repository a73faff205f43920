//! Sentences of a text that others edit too.

use bytes::Bytes;

use crate::client::error::ClientError;
use crate::client::link::Patience;
use crate::client::requests::{Client, mutation, request, send_body};
use crate::client::source::Source;
use crate::digest::Crc32;
use crate::wire::{BodyLength, BodyReader, DropAnswer, EditAnswer, MutationAnswer, Op, RequestLine, Trailer};

/// A sentence that is this client's to edit, as long as the connection lasts.
#[derive(Clone, Debug)]
pub struct Sentence {
    pub path: String,
    pub text: String,
    /// How many the text has.
    pub sentences: u64,
    lease: u64,
}

impl Client {
    /// Takes a sentence to edit.
    pub async fn edit(&mut self, path: &str, sentence: u64) -> Result<Sentence, ClientError> {
        let line = RequestLine { path: Some(path.to_owned()), sentence: Some(sentence), ..request(Op::Edit) };
        let (head, body) = self
            .retry(async |link| {
                link.ask(&line).await?;
                let head: EditAnswer = link.answer(Patience::Limited).await?;
                let (mut reader, mut body) = (BodyReader::new(BodyLength::Known(head.len), u64::MAX), Vec::new());
                while let Some(piece) = link.piece(&mut reader).await? {
                    body.extend_from_slice(&piece);
                }
                let Trailer { crc32: expected, .. } = link.last().await?;
                let actual = Crc32::of(&body);
                if actual == expected {
                    Ok((head, body))
                } else {
                    Err(ClientError::Damaged { path: path.to_owned(), expected, actual })
                }
            })
            .await?;
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Sentence { path: path.to_owned(), text, sentences: head.sentences, lease: head.lease })
    }

    /// Says that it is being worked at. Not on another connection: there the sentence is nobody's.
    pub async fn renew(&mut self, sentence: &Sentence) -> Result<(), ClientError> {
        let asked = RequestLine { lease: Some(sentence.lease), ..of(sentence, request(Op::Renew)) };
        let link = self.link().await?;
        link.ask(&asked).await?;
        link.last::<DropAnswer>().await.map(drop)
    }

    /// Puts a text in the sentence's place. Sent again after a lost connection it tells what became of it.
    pub async fn commit(&mut self, sentence: &Sentence, text: &str) -> Result<MutationAnswer, ClientError> {
        let text = Bytes::copy_from_slice(text.as_bytes());
        let line = RequestLine {
            lease: Some(sentence.lease),
            len: Some(text.len() as u64),
            ..of(sentence, mutation(Op::Commit))
        };
        self.change(&line, async |link| send_body(link, &line, &mut Source::Memory(text.clone()), &mut |_| ()).await)
            .await
    }

    /// Lets others have it.
    pub async fn release(&mut self, sentence: &Sentence) -> Result<(), ClientError> {
        let line = RequestLine { lease: Some(sentence.lease), ..of(sentence, request(Op::Release)) };
        self.simple::<DropAnswer>(&line).await.map(drop)
    }

    /// Adds bytes at a file's end, once, however often they have to be sent.
    pub async fn append(&mut self, path: &str, bytes: Bytes) -> Result<MutationAnswer, ClientError> {
        let (path, len) = (Some(path.to_owned()), Some(bytes.len() as u64));
        let line = RequestLine { path, len, ..mutation(Op::Append) };
        self.change(&line, async |link| send_body(link, &line, &mut Source::Memory(bytes.clone()), &mut |_| ()).await)
            .await
    }
}

fn of(sentence: &Sentence, line: RequestLine) -> RequestLine {
    RequestLine { path: Some(sentence.path.clone()), ..line }
}
