//! Plans, carried out on numbers: every tap is multiplied once with its own pixel, and no load leaves its row.

use super::*;

/// Registers of lanes and of addresses, of which the last is what was saved.
#[derive(Clone, Copy, Default)]
struct Machine {
    registers: [u32; 16],
    address: [isize; 16],
    sums: [i32; 8],
}

fn half(register: u32, half: Half) -> i32 {
    i32::from(if half == Half::Low { register as i16 } else { (register >> 16) as i16 })
}

fn lanes(low: i32, high: i32) -> u32 {
    u32::from(low as u16) | u32::from(high as u16) << 16
}

/// Runs a plan over a row of pixels, whose zero point is zero.
fn run(plan: &Plan, windows: &Windows, taps: &[i8], pixels: &[i8]) -> Machine {
    let mut m = Machine::default();
    let mut saved = windows.position;
    let word = |bytes: &[i8], at: isize| {
        let byte = |number: isize| bytes.get((at + number) as usize).copied().unwrap_or(99) as u8;
        u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    };
    for instruction in &plan.instructions {
        match *instruction {
            Row { to, .. } => m.address[to] = saved,
            Taps { to, column } => m.registers[to] = word(taps, column as isize),
            Tap { to, column } => m.registers[to] = i32::from(taps[column]) as u32,
            Pixels { to, row, at, advance } => {
                let from = m.address[row] + at;
                assert!(from >= 0 && from + 4 <= windows.width as isize, "inside of the row: {windows:?}");
                assert!(advance == 0 || (at == 0 && to != row), "{windows:?}");
                m.address[row] += advance as isize;
                m.registers[to] = word(pixels, from);
            }
            Step { row, by } => m.address[row] += by,
            Save { row } => saved = m.address[row],
            Extend { to, of, odd, .. } => {
                let bytes = m.registers[of].rotate_right(if odd { 8 } else { 0 }).to_le_bytes();
                m.registers[to] = lanes(i32::from(bytes[0] as i8), i32::from(bytes[2] as i8));
            }
            Combine { to, first, second } => {
                let [a, b] = [first, second].map(|(register, place)| half(m.registers[register], place));
                let crossed = (first.1, second.1) == (Half::High, Half::Low);
                m.registers[to] = if crossed { lanes(b, a) } else { lanes(a, b) };
            }
            Multiply { sum, pixels, taps, halves, crossed } => {
                let [x, w] = [pixels, taps].map(|register| m.registers[register]);
                let both = [Half::Low, Half::High];
                let other = if crossed { [Half::High, Half::Low] } else { both };
                m.sums[sum] += match halves {
                    Some((of_x, of_w)) => half(x, of_x) * half(w, of_w),
                    None => (0..2).map(|lane| half(x, both[lane]) * half(w, other[lane])).sum(),
                };
            }
        }
    }
    m.address[15] = saved;
    m
}

#[test]
fn every_tap_is_multiplied_once() {
    let mut plans = 0;
    for columns in 2..=7usize {
        let taps: Vec<i8> =
            (0..8).map(|tap| if tap < columns { (7 * tap % 11) as i8 - 5 } else { 77 }).collect();
        for (width, stride) in [4, 5, 7, 10, 15].into_iter().flat_map(|width| [(width, 1), (width, 2)]) {
            let pixels: Vec<i8> = (0..width).map(|place| (37 * place % 101) as i8 - 50).collect();
            for (outputs, first) in
                [1, 3, 4, 6].into_iter().flat_map(|outputs| [(outputs, 0), (outputs, 1), (outputs, 3)])
            {
                let starts: Vec<isize> = (0..outputs)
                    .map(|output| ((first + output) * stride) as isize - (columns / 2) as isize)
                    .collect();
                let is_inside = |&start: &isize| start < width as isize && start + columns as isize > 0;
                let all_inside = starts[0] >= 0
                    && starts[outputs - 1] + (columns + stride * outputs) as isize <= width as isize;
                if !starts.iter().all(is_inside) {
                    continue;
                }
                for (times, step) in
                    [(1, 0), (1, 9), (2, 0)].into_iter().filter(|case| case.0 == 1 || all_inside)
                {
                    let windows = Windows {
                        starts: starts.clone(),
                        columns,
                        width,
                        pitch: columns,
                        times,
                        advance: if times > 1 { stride * outputs } else { 0 },
                        position: 2,
                        step,
                    };
                    let Some(found) = plan(&windows, 12 - outputs) else { continue };
                    let windows = Windows { position: if times > 1 { found.first } else { 2 }, ..windows };
                    let Some(found) = plan(&windows, 12 - outputs) else { continue };
                    plans += 1;
                    let machine = run(&found, &windows, &taps, &pixels);
                    for (sum, &start) in starts.iter().enumerate() {
                        let product = |column: usize| {
                            let pixel =
                                usize::try_from(start + column as isize).ok().and_then(|at| pixels.get(at));
                            pixel.map_or(0, |&pixel| i32::from(pixel) * i32::from(taps[column]))
                        };
                        let expected: i32 = (0..columns).map(product).sum();
                        assert_eq!(machine.sums[sum], expected, "{windows:?}: {found:?}");
                    }
                    let moved =
                        windows.position + step + if times > 1 { windows.advance as isize } else { 0 };
                    assert_eq!(machine.address[15], moved, "{windows:?}: {found:?}");
                }
            }
        }
    }
    assert!(plans > 300, "there are many plans, got {plans}");
}
