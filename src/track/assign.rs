//! Which detection belongs to which track: the assignment with the largest total similarity.
//!
//! Shortest augmenting paths with potentials (Kuhn 1955, Jonker and Volgenant
//! 1987), on fixed arrays: at most [`PEOPLE_MAX`] rows and [`TRACKS_MAX`]
//! columns. Optimal matters where people cross: the greedy best pair may leave
//! two people with each other's number.

use crate::base::limits::{PEOPLE_MAX, TRACKS_MAX};

/// Similarity of each detection (row) with each track (column), 0 to 1.
pub type Similarities = [[f32; TRACKS_MAX]; PEOPLE_MAX];

/// Columns of the square-enough problem: each track, and for each row a column
/// that means "no track".
const COLUMNS: usize = TRACKS_MAX + PEOPLE_MAX;

/// The cost of a pair that must not be.
const NEVER: f32 = 1e3;

/// Gives each of the first `rows` detections a track or none.
///
/// Maximises the sum of similarities, where leaving a detection alone counts as
/// much as `gate`; pairs below `gate` are never made.
pub fn assign(similarities: &Similarities, rows: usize, gate: f32) -> [Option<usize>; PEOPLE_MAX] {
    debug_assert!(rows <= PEOPLE_MAX, "one row for each detection");
    let cost = |row: usize, column: usize| {
        if column >= TRACKS_MAX {
            return 1.0 - gate;
        }
        let similarity = similarities[row][column];
        if similarity >= gate {
            1.0 - similarity
        } else {
            NEVER
        }
    };
    // Row and column 0 are the algorithm's own; detections and columns count from 1.
    let mut row_potential = [0.0_f32; PEOPLE_MAX + 1];
    let mut column_potential = [0.0_f32; COLUMNS + 1];
    let mut row_of = [0_usize; COLUMNS + 1];
    for row in 1..=rows {
        let mut slack = [f32::INFINITY; COLUMNS + 1];
        let mut from = [0_usize; COLUMNS + 1];
        let mut visited = [false; COLUMNS + 1];
        row_of[0] = row;
        let mut at = 0;
        loop {
            visited[at] = true;
            let current = row_of[at];
            let mut step = f32::INFINITY;
            let mut next = 0;
            for column in 1..=COLUMNS {
                if visited[column] {
                    continue;
                }
                let reduced = cost(current - 1, column - 1)
                    - row_potential[current]
                    - column_potential[column];
                if reduced < slack[column] {
                    slack[column] = reduced;
                    from[column] = at;
                }
                if slack[column] < step {
                    step = slack[column];
                    next = column;
                }
            }
            for column in 0..=COLUMNS {
                if visited[column] {
                    row_potential[row_of[column]] += step;
                    column_potential[column] -= step;
                } else {
                    slack[column] -= step;
                }
            }
            at = next;
            if row_of[at] == 0 {
                break;
            }
        }
        while at != 0 {
            let previous = from[at];
            row_of[at] = row_of[previous];
            at = previous;
        }
    }
    let mut tracks = [None; PEOPLE_MAX];
    for (track, row) in row_of[1..=TRACKS_MAX].iter().enumerate() {
        if let Some(row) = row.checked_sub(1) {
            tracks[row] = Some(track);
        }
    }
    tracks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best total by trying everything.
    fn best(similarities: &Similarities, row: usize, rows: usize, taken: u32, gate: f32) -> f32 {
        if row == rows {
            return 0.0;
        }
        let mut total = gate + best(similarities, row + 1, rows, taken, gate);
        for (column, &similarity) in similarities[row].iter().enumerate() {
            if taken & (1 << column) == 0 && similarity >= gate {
                let rest = best(similarities, row + 1, rows, taken | (1 << column), gate);
                total = total.max(similarity + rest);
            }
        }
        total
    }

    #[test]
    fn the_total_is_the_best_there_is() {
        let mut random = fastrand::Rng::with_seed(11);
        for trial in 0..300 {
            let rows = random.usize(0..=5);
            let gate = 0.3 * random.f32();
            let mut similarities = [[0.0; TRACKS_MAX]; PEOPLE_MAX];
            for row in similarities.iter_mut().take(rows) {
                for similarity in row.iter_mut().take(6) {
                    *similarity = random.f32();
                }
            }
            let tracks = assign(&similarities, rows, gate);
            let mut used = [false; TRACKS_MAX];
            let mut total = 0.0;
            for (row, track) in tracks.iter().enumerate().take(rows) {
                total += track.map_or(gate, |track| {
                    assert!(!used[track], "a track goes to one detection");
                    used[track] = true;
                    assert!(similarities[row][track] >= gate);
                    similarities[row][track]
                });
            }
            assert!(tracks[rows..].iter().all(Option::is_none));
            let want = best(&similarities, 0, rows, 0, gate);
            assert!((total - want).abs() < 1e-4, "{trial}: {total} {want}");
        }
    }

    #[test]
    fn the_greedy_pair_gives_way_to_the_better_total() {
        let mut similarities = [[0.0; TRACKS_MAX]; PEOPLE_MAX];
        similarities[0][0] = 0.9;
        similarities[0][1] = 0.8;
        similarities[1][0] = 0.8;
        similarities[1][1] = 0.1;
        let tracks = assign(&similarities, 2, 0.2);
        assert_eq!(tracks[..2], [Some(1), Some(0)]);
    }

    #[test]
    fn all_eight_rows_and_sixteen_columns_are_used() {
        let mut similarities = [[0.0; TRACKS_MAX]; PEOPLE_MAX];
        for (row, of_row) in similarities.iter_mut().enumerate() {
            of_row[TRACKS_MAX - 1 - row] = 0.5;
        }
        let tracks = assign(&similarities, PEOPLE_MAX, 0.2);
        for (row, track) in tracks.iter().enumerate() {
            assert_eq!(*track, Some(TRACKS_MAX - 1 - row));
        }
    }

    #[test]
    fn a_detection_stays_alone_where_that_leaves_the_larger_total() {
        let mut similarities = [[0.0; TRACKS_MAX]; PEOPLE_MAX];
        similarities[0][0] = 0.9;
        similarities[0][1] = 0.25;
        similarities[1][0] = 0.25;
        // 0.9 and one alone, not 0.25 twice.
        let tracks = assign(&similarities, 2, 0.2);
        assert_eq!(tracks[..2], [Some(0), None]);
    }
}
