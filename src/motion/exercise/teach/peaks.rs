//! The peaks of a curve by their prominence: how far one has to go down from a peak to reach a higher one.

/// A local maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Peak {
    /// Where, an index.
    pub at: usize,
    /// How far it rises above the deeper of the ways to a higher one; the highest, above the lowest value.
    pub prominence: f32,
}

/// All peaks, the most prominent first. Values come in from the highest to the lowest; each joins the hills beside it,
/// and where it joins two, the lower of them ends there (as in the persistence of a function's maxima: Edelsbrunner,
/// Letscher and Zomorodian 2002).
pub(super) fn peaks(values: &[f32]) -> Vec<Peak> {
    /// No hill yet.
    const NONE: usize = usize::MAX;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let Some(&lowest) = order.last() else {
        return Vec::new();
    };
    // Of each value, the next one on the way to the top of its hill.
    let mut toward = vec![NONE; values.len()];
    let mut found = Vec::new();
    for at in order {
        let beside = [at.checked_sub(1), Some(at + 1)];
        let mut hills = beside.map(|side| {
            let side = side.filter(|side| toward.get(*side).is_some_and(|on| *on != NONE))?;
            Some(top(&mut toward, side))
        });
        hills.sort_by(|a, b| {
            let height = |hill: &Option<usize>| hill.map_or(f32::NEG_INFINITY, |hill| values[hill]);
            height(b).total_cmp(&height(a))
        });
        toward[at] = at;
        if let [Some(higher), lower] = hills {
            toward[at] = higher;
            if let Some(lower) = lower {
                toward[lower] = higher;
                found.push(Peak {
                    at: lower,
                    prominence: values[lower] - values[at],
                });
            }
        }
    }
    let highest = top(&mut toward, 0);
    found.push(Peak {
        at: highest,
        prominence: values[highest] - values[lowest],
    });
    found.sort_by(|a, b| b.prominence.total_cmp(&a.prominence));
    found
}

/// The top of the hill that a value is on; the way there is made shorter for the next one.
fn top(toward: &mut [usize], mut at: usize) -> usize {
    while toward[at] != at {
        toward[at] = toward[toward[at]];
        at = toward[at];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_come_with_their_prominence() {
        let found = peaks(&[0.0, 5.0, 1.0, 3.0, 2.0, 9.0, -1.0, 4.0]);
        let found: Vec<(usize, f32)> = found.iter().map(|p| (p.at, p.prominence)).collect();
        assert_eq!(found, [(5, 10.0), (7, 5.0), (1, 4.0), (3, 1.0)]);
        assert!(peaks(&[]).is_empty());
        assert_eq!(peaks(&[2.0]).len(), 1);
        // A plateau is one peak, and what rises to the end is one, too.
        let flat = peaks(&[0.0, 1.0, 1.0, 1.0, 0.0, 2.0]);
        let real: Vec<usize> = flat
            .iter()
            .filter(|p| p.prominence > 0.0)
            .map(|p| p.at)
            .collect();
        assert_eq!(real.len(), 2, "{flat:?}");
    }
}
