//! Run-length tables: `stts` (durations) and `ctts` (composition offsets) as written, with a mark every 64 runs so that
//! a sample or a time is found by binary search.

/// Runs between two marks: few enough to scan, many enough that marks weigh little.
const STRIDE: usize = 64;

/// `count` samples of one value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// How many samples, never 0.
    pub(crate) count: u32,
    /// The value; a two's complement number in `ctts`.
    pub(crate) value: u32,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    sample: u32,
    sum: u64,
}

/// A table of runs.
#[derive(Debug)]
pub(crate) struct RunLength {
    runs: Box<[Run]>,
    marks: Box<[Mark]>,
    samples: u64,
    sum: u64,
}

/// A place in a table: a run, and how many of its samples are already past.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunPosition {
    run: u32,
    past: u32,
}

impl RunLength {
    /// A table of these runs; empty runs are dropped, neighbours of one value joined.
    pub(crate) fn new(source: impl Iterator<Item = Run>) -> Self {
        let mut runs: Vec<Run> = Vec::with_capacity(source.size_hint().0);
        for run in source.filter(|run| run.count > 0) {
            match runs.last_mut() {
                Some(last) if last.value == run.value && last.count.checked_add(run.count).is_some() => {
                    last.count += run.count;
                }
                _ => runs.push(run),
            }
        }
        let mut marks = Vec::with_capacity(runs.len() / STRIDE + 1);
        let (mut samples, mut sum) = (0u64, 0u64);
        for (at, run) in runs.iter().enumerate() {
            if at % STRIDE == 0 {
                marks.push(Mark { sample: samples.min(u64::from(u32::MAX)) as u32, sum });
            }
            samples += u64::from(run.count);
            sum = sum.wrapping_add(u64::from(run.count) * u64::from(run.value));
        }
        Self { runs: runs.into_boxed_slice(), marks: marks.into_boxed_slice(), samples, sum }
    }

    /// How many samples the runs cover.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// The sum of all values: for `stts`, the track's length in ticks.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// The runs.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Memory held, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        size_of_val(&*self.runs) + size_of_val(&*self.marks)
    }

    /// Where `sample` stands, and the sum of the values before it.
    pub(crate) fn find_sample(&self, sample: u32) -> (RunPosition, u64) {
        let mark = self.marks.partition_point(|mark| mark.sample <= sample).saturating_sub(1);
        let Some(&Mark { sample: mut first, mut sum }) = self.marks.get(mark) else {
            return (RunPosition::default(), 0);
        };
        let mut at = mark * STRIDE;
        while let Some(run) = self.runs.get(at) {
            let past = sample - first;
            if past < run.count {
                let sum = sum.wrapping_add(u64::from(past) * u64::from(run.value));
                return (RunPosition { run: at as u32, past }, sum);
            }
            first += run.count;
            sum = sum.wrapping_add(u64::from(run.count) * u64::from(run.value));
            at += 1;
        }
        (RunPosition { run: at as u32, past: 0 }, sum)
    }

    /// The last sample the values before which sum up to `sum` or less; values count as unsigned.
    pub(crate) fn find_sum(&self, sum: u64) -> u32 {
        let mark = self.marks.partition_point(|mark| mark.sum <= sum).saturating_sub(1);
        let Some(&Mark { sample: mut first, sum: mut before }) = self.marks.get(mark) else { return 0 };
        let mut found = first;
        for run in &self.runs[mark * STRIDE..] {
            if before > sum {
                break;
            }
            let within = match (sum - before).checked_div(u64::from(run.value)) {
                Some(steps) => steps.min(u64::from(run.count - 1)) as u32,
                None => run.count - 1,
            };
            found = first + within;
            if within < run.count - 1 {
                break;
            }
            before += u64::from(run.count) * u64::from(run.value);
            first = first.saturating_add(run.count);
        }
        found
    }

    /// The value at a place, moving on by one sample; 0 past the end.
    pub(crate) fn next(&self, at: &mut RunPosition) -> u32 {
        let Some(run) = self.runs.get(at.run as usize) else { return 0 };
        at.past += 1;
        if at.past == run.count {
            *at = RunPosition { run: at.run + 1, past: 0 };
        }
        run.value
    }
}
