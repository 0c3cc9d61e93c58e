//! Overlapped work on many pictures: while one is drawn, the next is read and the previous one written.

use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// For every item in order: `read` on a thread of its own, `draw` on this thread, `write` and `report` on another one.
/// An item that fails in one stage skips the others, and `report` gets its error. No stage runs ahead by more than one
/// item, so memory holds three. Where the system refuses the threads, one stage follows the other.
///
/// For the generator, `read` also plans ([`Painter::plan`](alias_model::Painter::plan)), since that takes no device.
///
/// ```
/// use alias_pictures::pipeline::overlapped;
///
/// let mut lengths = Vec::new();
/// overlapped(
///     &["one", "two", "x"],
///     |word| if word.len() > 1 { Ok(word.len()) } else { Err("too short") },
///     |_, length| Ok(10 * length),
///     |_, _| Ok(()),
///     |word, result| lengths.push((*word, result)),
/// );
/// assert_eq!(lengths, [("one", Ok(())), ("two", Ok(())), ("x", Err("too short"))]);
/// ```
pub fn overlapped<I: Sync, R: Send, D: Send, E: Send>(
    items: &[I],
    read: impl Fn(&I) -> Result<R, E> + Send,
    draw: impl Fn(&I, R) -> Result<D, E>,
    write: impl Fn(&I, D) -> Result<(), E> + Send,
    report: impl FnMut(&I, Result<(), E>) + Send,
) {
    // In mutexes, since a thread that is refused drops what it was given.
    let (read, writing) = (Mutex::new(read), Mutex::new((write, report)));
    let read = |item: &I| (read.lock().unwrap_or_else(PoisonError::into_inner))(item);
    let write = |item: &I, drawn: Result<D, E>| {
        let (write, report) = &mut *writing.lock().unwrap_or_else(PoisonError::into_inner);
        report(item, drawn.and_then(|drawn| write(item, drawn)));
    };
    let is_done = std::thread::scope(|scope| {
        let (give, readings) = sync_channel(0);
        let reader = Builder::new().name("read".into()).spawn_scoped(scope, move || {
            // Sending fails only if `draw` panics or no writer starts, which drops the receiver.
            items.iter().try_for_each(|item| give.send(read(item)))
        });
        let (give, drawings) = sync_channel(0);
        let writer = Builder::new().name("write".into()).spawn_scoped(scope, move || {
            items.iter().zip(drawings).for_each(|(item, drawn)| write(item, drawn));
        });
        if reader.is_err() || writer.is_err() {
            return false;
        }
        for (item, reading) in items.iter().zip(readings) {
            if give.send(Result::and_then(reading, |reading| draw(item, reading))).is_err() {
                break;
            }
        }
        true
    });
    if !is_done {
        items.iter().for_each(|item| write(item, read(item).and_then(|reading| draw(item, reading))));
    }
}

#[cfg(test)]
mod tests {
    use super::overlapped;
    use std::sync::Mutex;

    #[test]
    fn every_item_goes_through_all_stages_in_order_whatever_fails() {
        let items: Vec<usize> = (0..20).collect();
        let failing =
            |stage: usize, item: usize| if item % 7 == stage { Err(format!("stage {stage}")) } else { Ok(()) };
        let (drawn, mut reports) = (Mutex::new(Vec::new()), Vec::new());
        overlapped(
            &items,
            |&item| failing(1, item).map(|()| item + 100),
            |&item, read| {
                assert_eq!(read, item + 100);
                drawn.lock().unwrap().push(item);
                failing(2, item).map(|()| item + 200)
            },
            |&item, drawn| {
                assert_eq!(drawn, item + 200);
                failing(3, item)
            },
            |&item, result| reports.push((item, result.err())),
        );
        let expected = |&item: &usize| {
            let failed = Some(item % 7).filter(|stage| (1..4).contains(stage));
            (item, failed.map(|stage| format!("stage {stage}")))
        };
        assert_eq!(reports, items.iter().map(expected).collect::<Vec<_>>());
        let read = items.iter().copied().filter(|item| item % 7 != 1);
        assert_eq!(*drawn.lock().unwrap(), read.collect::<Vec<_>>());
    }
}
