//! demo.svg: the load of every partition over time, with pss's forecast, for both twins.
//!
//! Drawn by hand from what was measured; must never smooth or leave out a window.

use std::fmt::Write;

use super::counters::{Window, imbalance};
use super::{DAYS, PARTITIONS, SCORED_FROM, SECONDS, SECONDS_A_DAY};

const WIDTH: f64 = 1200.0;
const COLUMNS: usize = 4;
const MARGIN: f64 = 36.0;
const TOP: f64 = 64.0;
const CELL: (f64, f64) = ((WIDTH - 2.0 * MARGIN) / COLUMNS as f64, 190.0);
const BALANCE_HEIGHT: f64 = 220.0;

const PSS: &str = "#1f5fa8";
const FORECAST: &str = "#7fb2e5";
const HASH: &str = "#d9822b";

/// A field of the picture: where it is, and the value at its upper edge.
struct Field {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    full: f64,
}

impl Field {
    /// Frame, title, scored days shaded, days ruled.
    fn frame(&self, svg: &mut String, title: &str) {
        let Field { x, y, width, height, full } = *self;
        let (from, scored) = (self.at(SCORED_FROM, 0.0).0, self.at(SECONDS, 0.0).0);
        writeln!(
            svg,
            "<rect x='{from:.1}' y='{y:.1}' width='{:.1}' height='{height:.1}' fill='#f3f3f0'/>\
             <rect x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}' fill='none' stroke='#bbb'/>\
             <text x='{:.1}' y='{:.1}'>{title}</text>\
             <text x='{:.1}' y='{:.1}' text-anchor='end' class='scale'>{full:.0}</text>",
            scored - from,
            x + 6.0,
            y + 15.0,
            x + width - 4.0,
            y + 12.0
        )
        .ok();
        for day in 1..DAYS {
            let rule = self.at(f64::from(day) * SECONDS_A_DAY, 0.0).0;
            let bottom = y + height;
            writeln!(svg, "<path d='M{rule:.1},{y:.1}V{bottom:.1}' stroke='#ddd'/>").ok();
        }
    }

    fn at(&self, seconds: f64, value: f64) -> (f64, f64) {
        let x = self.x + self.width * (seconds / SECONDS).clamp(0.0, 1.0);
        (x, self.y + self.height * (1.0 - (value / self.full).clamp(0.0, 1.0)))
    }

    /// A line through (seconds, value); it is broken where a value is missing.
    fn line(
        &self,
        svg: &mut String,
        style: &str,
        points: impl Iterator<Item = (f64, Option<f64>)>,
    ) {
        let mut path = String::new();
        let mut step = 'M';
        for (seconds, value) in points {
            let Some(value) = value else {
                step = 'M';
                continue;
            };
            let (x, y) = self.at(seconds, value);
            write!(path, "{step}{x:.1},{y:.1}").ok();
            step = 'L';
        }
        if !path.is_empty() {
            writeln!(svg, "<path d='{path}' fill='none' {style}/>").ok();
        }
    }
}

/// The picture as SVG.
pub fn draw(windows: &[Window]) -> String {
    let rows = PARTITIONS.div_ceil(COLUMNS) as f64;
    let height = TOP + rows * CELL.1 + BALANCE_HEIGHT + 60.0;
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' \
         font-family='sans-serif' font-size='12'>\n\
         <style>.scale {{ fill: #777 }} .head {{ font-size: 17px }}</style>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='{MARGIN}' y='26' class='head'>Load of each partition, cost units per second, \
         by the server's own counters</text>\n"
    );
    let mut x = MARGIN;
    for (color, name) in [
        (PSS, "placed by pss"),
        (FORECAST, "pss's forecast"),
        (HASH, "placed by native hash"),
        ("#e4e4de", "scored days"),
    ] {
        let label = x + 24.0;
        writeln!(
            svg,
            "<path d='M{x},44h18' stroke='{color}' stroke-width='4'/><text x='{label}' y='48'>{name}</text>"
        )
        .ok();
        x += 180.0;
    }
    let largest = windows.iter().flat_map(|w| w.load.iter().flatten().copied());
    let full = round_up(largest.fold(1.0, f64::max));
    for p in 0..PARTITIONS {
        let field = Field {
            x: MARGIN + (p % COLUMNS) as f64 * CELL.0,
            y: TOP + (p / COLUMNS) as f64 * CELL.1,
            width: CELL.0 - 10.0,
            height: CELL.1 - 12.0,
            full,
        };
        field.frame(&mut svg, &format!("partition {p}"));
        // A window's load stands in its middle, a forecast in the middle of its time.
        let load = |twin: usize| windows.iter().map(move |w| (w.end - 0.5, Some(w.load[twin][p])));
        let forecast = windows.iter().map(|w| (w.forecast_for, w.outlook[p].forecast));
        field.line(&mut svg, &format!("stroke='{HASH}' stroke-width='1'"), load(1));
        field.line(&mut svg, &format!("stroke='{FORECAST}' stroke-width='2'"), forecast);
        field.line(&mut svg, &format!("stroke='{PSS}' stroke-width='1.2'"), load(0));
    }
    let field = Field {
        x: MARGIN,
        y: TOP + rows * CELL.1 + 14.0,
        width: WIDTH - 2.0 * MARGIN - 10.0,
        height: BALANCE_HEIGHT,
        full: 2.0,
    };
    field.frame(&mut svg, "max / mean - 1 over all partitions: 0 is perfectly level");
    for (twin, color) in [(1, HASH), (0, PSS)] {
        let points = windows.iter().map(|w| (w.end - 0.5, imbalance(&w.load[twin])));
        field.line(&mut svg, &format!("stroke='{color}' stroke-width='1.5'"), points);
    }
    for day in 0..DAYS {
        let (x, y) = field.at((f64::from(day) + 0.5) * SECONDS_A_DAY, 0.0);
        let number = day + 1;
        writeln!(
            svg,
            "<text x='{x:.1}' y='{:.1}' text-anchor='middle'>day {number}</text>",
            y + 18.0
        )
        .ok();
    }
    svg.push_str("</svg>\n");
    svg
}

/// The next of 1, 1.5, 2, 3, 5, 10, 15, ...
fn round_up(value: f64) -> f64 {
    let unit = 10.0_f64.powf(value.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 5.0, 10.0];
    steps.map(|step| step * unit).into_iter().find(|&step| step >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::twins::Outlook;

    #[test]
    fn every_window_is_a_point_of_every_line() {
        let window = |end: f64| Window {
            end,
            load: [[10.0; PARTITIONS]; 2],
            rows: [[0; PARTITIONS]; 2],
            outlook: [Outlook { forecast: Some(10.0), weight: None }; PARTITIONS],
            forecast_for: end + 1.0,
        };
        let svg = draw(&[window(1.0), window(2.0), window(3.0)]);
        // Two twins and the forecast for each partition, and two lines of balance.
        let paths = svg.lines().filter(|line| line.starts_with("<path"));
        let segments: usize = paths.map(|path| path.matches('L').count()).sum();
        assert_eq!(segments, (PARTITIONS * 3 + 2) * 2);
        assert!(svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn scales_are_round() {
        assert_eq!([0.9, 1.0, 2.5, 60.0, 101.0].map(round_up), [1.0, 1.0, 3.0, 100.0, 150.0]);
    }
}
