//! Timeline of a run: which builds ran at the same time, and the critical path.

use std::time::Duration;

/// Times of an image, from the start of the run.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// Start of its build.
    pub started: Option<Duration>,
    /// End of its build, when images that need it could start.
    pub built: Option<Duration>,
    /// End of all work on it, its push included.
    pub ended: Option<Duration>,
    /// Indices of the images that it needs.
    pub needs: Vec<usize>,
}

/// Returns, for each span, the first slot that is free when it begins; spans that overlap never
/// share a slot. The spans may be in any order.
pub fn slots(spans: &[(Duration, Duration)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|span| spans[*span].0);
    let mut free_from: Vec<Duration> = Vec::new();
    let mut slots = vec![0; spans.len()];
    for span in order {
        let (from, to) = spans[span];
        let found = free_from.iter().position(|free| *free <= from);
        let slot = found.unwrap_or(free_from.len());
        match found {
            Some(slot) => free_from[slot] = to,
            None => free_from.push(to),
        }
        slots[span] = slot;
    }
    slots
}

/// Returns the critical path, first image first. It is followed back from the image that ended
/// last: to the image that was ready last among those it needs, and so on.
pub fn critical_path(images: &[Times]) -> Vec<usize> {
    let has_run = |image: &usize| images[*image].started.is_some();
    let ready = |image: &usize| images[*image].built.or(images[*image].ended);
    let last = (0..images.len()).filter(has_run).max_by_key(|image| images[*image].ended);
    let mut path: Vec<usize> = std::iter::successors(last, |image| {
        images[*image].needs.iter().copied().filter(has_run).max_by_key(ready)
    })
    .collect();
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_free_slot_is_taken() {
        type Case = (&'static [(u64, u64)], &'static [usize]);
        let cases: [Case; 6] = [
            (&[], &[]),
            (&[(0, 5)], &[0]),
            (&[(0, 5), (0, 3), (3, 4), (4, 9), (5, 6)], &[0, 1, 1, 1, 0]),
            // Spans in any order.
            (&[(5, 6), (0, 5)], &[0, 0]),
            (&[(0, 9), (1, 9), (2, 9), (9, 10)], &[0, 1, 2, 0]),
            // Spans of no duration get a slot, too.
            (&[(0, 0), (0, 0), (0, 1), (0, 1)], &[0, 0, 0, 1]),
        ];
        for (spans, expected) in cases {
            let spans: Vec<_> = spans.iter().map(|(from, to)| (at(*from), at(*to))).collect();
            assert_eq!(slots(&spans), expected, "{spans:?}");
        }
    }

    /// Returns the times of an image that started, was built and ended at these seconds.
    fn image(started: u64, built: u64, ended: u64, needs: &[usize]) -> Times {
        let needs = needs.to_vec();
        Times { started: Some(at(started)), built: Some(at(built)), ended: Some(at(ended)), needs }
    }

    #[test]
    fn the_path_leads_back_from_the_last_end() {
        let failed = |started, ended, needs: &[usize]| Times {
            built: None,
            ..image(started, 0, ended, needs)
        };
        let never = |ended: Option<u64>, needs: &[usize]| Times {
            ended: ended.map(at),
            needs: needs.to_vec(),
            ..Times::default()
        };
        let cases: [(&str, Vec<Times>, &[usize]); 7] = [
            ("no image", vec![], &[]),
            ("none that ran", vec![never(None, &[]), never(Some(3), &[0])], &[]),
            ("one", vec![image(0, 1, 1, &[])], &[0]),
            (
                "the need that was ready last",
                vec![
                    image(0, 2, 2, &[]),
                    image(2, 4, 4, &[0]),
                    image(2, 7, 7, &[0]),
                    image(7, 9, 9, &[1, 2]),
                    image(4, 8, 8, &[1]),
                ],
                &[0, 2, 3],
            ),
            (
                "a push keeps nobody waiting, and may be what ends last",
                vec![image(0, 1, 20, &[]), image(1, 9, 9, &[]), image(9, 10, 11, &[0, 1])],
                &[0],
            ),
            (
                "a skipped parent took no time, a failed build did",
                vec![never(None, &[]), failed(0, 5, &[0]), never(Some(6), &[1])],
                &[1],
            ),
            (
                "readiness counts, not the end of a push",
                vec![image(0, 1, 9, &[]), image(0, 2, 3, &[]), image(2, 12, 12, &[0, 1])],
                &[1, 2],
            ),
        ];
        for (what, images, expected) in cases {
            assert_eq!(critical_path(&images), expected, "{what}");
        }
    }
}
