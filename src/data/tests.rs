//! Data sets against cases worked out by hand; every file is made here.

use super::DataSet;
use super::args::{Channels, DataArgs, DataType};
use super::picture::{Size, grey, resize};
use super::pixels::Normalization;
use mcunet_ir::tensor::Data;
use mcunet_ir::{Module, Tensor};
use std::path::Path;

/// A module whose inputs have these types and which returns them.
fn module(types: &[&str]) -> Module {
    let list = |each: &dyn Fn(usize, &str) -> String| {
        types.iter().enumerate().map(|(i, ty)| each(i, ty)).collect::<Vec<_>>().join(", ")
    };
    let ports = |kind: &str| list(&|i, ty| format!("\"{kind}{i}\" : {ty}"));
    let text = format!(
        "module \"m\" stage \"imported\" {{\n  func \"main\" inputs [{}] outputs [{}] {{\n  ^({}):\n    func.return {}\n  }}\n}}\n",
        ports("in"),
        ports("out"),
        list(&|i, ty| format!("%x{i}: {ty}")),
        list(&|i, _| format!("%x{i}")),
    );
    mcunet_ir::text::parse(&text, "m.mcir").expect("the module is right")
}

const BYTES: &str = "tensor<1x2x2x3x!quant.uniform<i8:f32, 0.003921569:-128>>";
const FLOATS: &str = "tensor<1x2x2x3xf32>";

fn args(data: &[&Path]) -> DataArgs {
    DataArgs { data: data.iter().map(|path| path.display().to_string()).collect(), ..DataArgs::default() }
}

/// A `.npy` file.
fn npy(dtype: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    let mut head = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({dims}), }}");
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let length = u16::try_from(head.len()).expect("a short head").to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], head.as_bytes(), bytes].concat()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A stored `.npz` archive.
fn npz(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).expect("a file"));
    for (name, bytes) in arrays {
        let deflated =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        archive.start_file(format!("{name}.npy"), deflated).expect("an entry");
        archive.write_all(bytes).expect("an entry");
    }
    archive.finish().expect("an archive");
}

fn png(path: &Path, width: u32, height: u32, pixels: &[u8]) {
    image::save_buffer(path, pixels, width, height, image::ExtendedColorType::Rgb8).expect("a picture");
}

fn open(args: &DataArgs, module: &Module) -> Result<DataSet, String> {
    DataSet::open(args, module).map_err(|failure| failure.render(false))
}

fn first(set: &DataSet) -> Tensor {
    set.inputs(0).expect("a sample").remove(0)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

const TWELVE: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 254, 255];

#[test]
fn pictures_mean_what_the_types_say() {
    let folder = folder();
    let file = folder.path().join("a.png");
    png(&file, 2, 2, &TWELVE);
    let stored = |module: &Module| first(&open(&args(&[&file]), module).expect("a set")).data;
    let shifted: Vec<i8> = TWELVE.iter().map(|&pixel| (i16::from(pixel) - 128) as i8).collect();
    assert_eq!(stored(&module(&[BYTES])), Data::I8(shifted.clone()));
    let same = BYTES.replace("0.003921569", "1.0");
    assert_eq!(stored(&module(&[&same])), Data::I8(shifted.clone()));
    assert_eq!(stored(&module(&["tensor<1x2x2x3xi8>"])), Data::I8(shifted));
    assert_eq!(stored(&module(&["tensor<1x2x2x3xui8>"])), Data::U8(TWELVE.to_vec()));
    let unit: Vec<f32> = TWELVE.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    assert_eq!(stored(&module(&[FLOATS])), Data::F32(unit));
}

#[test]
fn colours_are_swapped_greyed_and_normalized() {
    let folder = folder();
    let file = folder.path().join("a.png");
    png(&file, 1, 1, &[10, 20, 40]);
    let rgb = module(&["tensor<1x1x1x3xf32>"]);
    let mut options = args(&[&file]);
    options.normalize = Some("10/20/30,1/2/10".parse().expect("numbers"));
    assert_eq!(first(&open(&options, &rgb).expect("a set")).data, Data::F32(vec![0.0, 0.0, 1.0]));
    options.channels = Channels::Bgr;
    assert_eq!(first(&open(&options, &rgb).expect("a set")).data, Data::F32(vec![30.0, 0.0, -2.0]));
    let options = DataArgs { normalize: Some("0,1".parse().expect("numbers")), ..args(&[&file]) };
    // 0.299 * 10 + 0.587 * 20 + 0.114 * 40 = 19.29
    let one = module(&["tensor<1x1x1x1xf32>"]);
    assert_eq!(first(&open(&options, &one).expect("a set")).data, Data::F32(vec![19.0]));
    assert_eq!(grey(&[255.0, 255.0, 255.0]), [255.0]);
}

#[test]
fn resizing_is_bilinear_with_half_pixel_centres() {
    let size = |rows, columns| Size { rows, columns, channels: 1 };
    // Positions -0.25, 0.25, 0.75, 1.25 of two pixels, clamped.
    assert_eq!(resize(&[0.0, 100.0], size(1, 2), 1, 4), [0.0, 25.0, 75.0, 100.0]);
    // Position 0.5 of each two.
    assert_eq!(resize(&[0.0, 10.0, 20.0, 40.0], size(2, 2), 1, 1), [17.5]);
    // Positions 0.5, 2.5 of four: no filter, so the others count nothing.
    assert_eq!(resize(&[0.0, 10.0, 20.0, 40.0], size(1, 4), 1, 2), [5.0, 30.0]);
    // Positions 0, 1.5, 3 of four along 3.
    let three = resize(&[0.0, 12.0, 24.0, 36.0], size(4, 1), 3, 1);
    for (found, expected) in three.iter().zip([2.0, 18.0, 34.0]) {
        assert!((found - expected).abs() < 1e-4, "{three:?}");
    }
}

#[test]
fn conventions_come_from_the_type_that_a_float_is_quantized_to() {
    let of = |scale: &str| {
        let text = format!(
            "module \"m\" stage \"imported\" {{\n  func \"main\" inputs [\"in\" : tensor<1x2x2x3xf32>] outputs [\"out\" : tensor<1x2x2x3x!quant.uniform<i8:f32, {scale}>>] {{\n  ^(%x: tensor<1x2x2x3xf32>):\n    %y = nn.quantize %x : tensor<1x2x2x3x!quant.uniform<i8:f32, {scale}>>\n    func.return %y\n  }}\n}}\n"
        );
        super::pixels::of_input(&mcunet_ir::text::parse(&text, "m.mcir").expect("the module is right"), 0)
    };
    assert_eq!(of("0.007839307").map(|known| known.to_string()), Some("127.5,127.5".to_owned()));
    assert_eq!(of("0.003921569:-128").map(|known| known.to_string()), Some("0,255".to_owned()));
    assert_eq!(of("0.02:3"), None);
}

#[test]
fn arrays_hold_one_sample_or_many() {
    let folder = folder();
    let file = folder.path().join("a.npy");
    let model = module(&[FLOATS]);
    let values: Vec<f32> = (0..36).map(|value| value as f32).collect();
    for (shape, count) in [(&[3, 2, 2, 3][..], 3), (&[3, 1, 2, 2, 3], 3), (&[2, 2, 3], 1), (&[1, 2, 2, 3], 1)]
    {
        std::fs::write(&file, npy("<f4", shape, &floats(&values[..count * 12]))).expect("a file");
        let set = open(&args(&[&file]), &model).expect("a set");
        assert_eq!(set.len(), count);
        let last = set.inputs(count - 1).expect("a sample").remove(0);
        assert_eq!(last.data, Data::F32(values[(count - 1) * 12..count * 12].to_vec()));
    }
    let doubles: Vec<u8> = values[..12].iter().flat_map(|&value| f64::from(value).to_le_bytes()).collect();
    std::fs::write(&file, npy("<f8", &[2, 2, 3], &doubles)).expect("a file");
    assert_eq!(first(&open(&args(&[&file]), &model).expect("a set")).data, Data::F32(values[..12].to_vec()));
}

#[test]
fn real_numbers_are_quantized_and_stored_ones_are_taken() {
    let folder = folder();
    let (reals, stored) = (folder.path().join("a.npy"), folder.path().join("b.npy"));
    let model = module(&["tensor<1x4x!quant.uniform<i8:f32, 0.5:3>>"]);
    std::fs::write(&reals, npy("<f4", &[4], &floats(&[0.0, 0.75, -1000.0, 1000.0]))).expect("a file");
    // 0.75 / 0.5 = 1.5 rounds away from zero.
    assert_eq!(first(&open(&args(&[&reals]), &model).expect("a set")).data, Data::I8(vec![3, 5, -128, 127]));
    std::fs::write(&stored, npy("|i1", &[4], &[3, 5, 128, 127])).expect("a file");
    let set = open(&args(&[&stored]), &model).expect("a set");
    assert_eq!(first(&set).data, Data::I8(vec![3, 5, -128, 127]));
    let reference = set.for_module(&module(&["tensor<1x4xf32>"])).expect("the same number of inputs");
    assert_eq!(first(&reference).data, Data::F32(vec![0.0, 1.0, -65.5, 62.0]));
}

#[test]
fn raw_files_hold_values_of_the_input_or_of_a_type_that_is_said() {
    let folder = folder();
    let file = folder.path().join("a.bin");
    std::fs::write(&file, [TWELVE, TWELVE].concat()).expect("a file");
    let model = module(&[BYTES]);
    let set = open(&args(&[&file]), &model).expect("a set");
    assert_eq!((set.len(), set.name(1)), (2, "a.bin[1]".to_owned()));
    assert_eq!(first(&set).data, Data::I8(TWELVE.iter().map(|&byte| byte as i8).collect()));
    let bytes = DataArgs { data_type: Some(DataType::Uint8), ..args(&[&file]) };
    let shifted: Vec<i8> = TWELVE.iter().map(|&pixel| (i16::from(pixel) - 128) as i8).collect();
    assert_eq!(first(&open(&bytes, &model).expect("a set")).data, Data::I8(shifted));
    assert_eq!(open(&bytes, &module(&[FLOATS])).expect("a set").notes().len(), 1);
}

#[test]
fn archives_hold_all_inputs_and_labels() {
    let folder = folder();
    let file = folder.path().join("a.npz");
    let model = module(&["tensor<1x2xf32>", "tensor<1x1xf32>"]);
    let one = npy("<f4", &[2, 1], &floats(&[7.0, 8.0]));
    let two = npy("<f4", &[2, 2], &floats(&[1.0, 2.0, 3.0, 4.0]));
    let labels = npy("<i8", &[2], &[1i64.to_le_bytes(), 0i64.to_le_bytes()].concat());
    for names in [["in1", "in0"], ["b", "a"]] {
        let arrays = if names[0] == "in1" { [one.clone(), two.clone()] } else { [two.clone(), one.clone()] };
        let [a, b] = arrays;
        npz(&file, &[(names[0], a), ("y", labels.clone()), (names[1], b)]);
        let set = open(&args(&[&file]), &model).expect("a set");
        assert_eq!((set.len(), set.label(0), set.label(1)), (2, Some(1), Some(0)));
        let inputs = set.inputs(1).expect("a sample");
        assert_eq!(inputs[0].data, Data::F32(vec![3.0, 4.0]));
        assert_eq!(inputs[1].data, Data::F32(vec![8.0]));
    }
    npz(&file, &[("a", two)]);
    let error = open(&args(&[&file]), &model).expect_err("an array is missing");
    assert!(error.contains("expected an array for each input: 'in0', 'in1'"), "{error}");
}

#[test]
fn folders_name_classes_and_their_order_is_fixed() {
    let folder = folder();
    for (class, file) in [("cat", "2.png"), ("cat", "1.png"), ("ant", "9.png"), ("bee", "0.png")] {
        std::fs::create_dir_all(folder.path().join(class)).expect("a folder");
        png(&folder.path().join(class).join(file), 2, 2, &TWELVE);
    }
    std::fs::write(folder.path().join("cat/notes.txt"), "nothing").expect("a file");
    let set = open(&args(&[folder.path()]), &module(&[FLOATS])).expect("a set");
    let names: Vec<(String, Option<usize>)> = (0..set.len()).map(|i| (set.name(i), set.label(i))).collect();
    let expected = [("9.png", 0), ("0.png", 1), ("1.png", 2), ("2.png", 2)];
    assert_eq!(names, expected.map(|(name, class)| (name.to_owned(), Some(class))));
    assert_eq!(set.classes(), Some(&["ant", "bee", "cat"].map(str::to_owned)[..]));
    assert!(set.notes().iter().any(|note| note.contains("notes.txt")), "{:?}", set.notes());
    let some = DataArgs { skip: 1, limit: Some(2), ..args(&[folder.path()]) };
    let set = open(&some, &module(&[FLOATS])).expect("a set");
    assert_eq!((set.len(), set.name(0), set.label(1)), (2, "0.png".to_owned(), Some(2)));
    for (old, new) in [("ant", "10"), ("bee", "9"), ("cat", "0")] {
        std::fs::rename(folder.path().join(old), folder.path().join(new)).expect("renamed");
    }
    let set = open(&args(&[folder.path()]), &module(&[FLOATS])).expect("a set");
    assert_eq!((0..set.len()).map(|i| set.label(i).unwrap_or(99)).collect::<Vec<_>>(), [0, 0, 10, 9]);
}

#[test]
fn labels_are_by_file_or_in_order() {
    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    for name in ["a.png", "b.png"] {
        png(&data.join(name), 2, 2, &TWELVE);
    }
    let labels = folder.path().join("labels");
    let model = module(&[FLOATS]);
    let found = |text: &[u8]| {
        std::fs::write(&labels, text).expect("a file");
        let set = open(&DataArgs { labels: Some(labels.clone()), ..args(&[&data]) }, &model)?;
        Ok([set.label(0).unwrap_or(99), set.label(1).unwrap_or(99)])
    };
    assert_eq!(found(b"b.bin,10,3\na.bin,10,4\n"), Ok([4, 3]));
    assert_eq!(found(b"file,class\nx/a.jpg, 1\nb,0\n"), Ok([1, 0]));
    assert_eq!(found(b"7\n\n8\n"), Ok([7, 8]));
    assert_eq!(found(&npy("|u1", &[2, 1], &[5, 6])), Ok([5, 6]));
    let wrong: [(&[u8], &str); 8] = [
        (b"1\n", "expected 2 labels"),
        (b"a,1\n", "expected a label for 'b'"),
        (b"a,1\nb,0\nc,2\n", "got none for 'c'"),
        (b"a,1\nb,-2\n", "line 2: expected a class from 0 on, got '-2'"),
        (b"a,1\nb,cat\n", "got 'cat'"),
        (b"a,1\nb,2\na,3\n", "expected one class for 'a', got 1 and 3"),
        (b"a,1\n2\n", "either classes alone or all with files"),
        (b"\n", "expected labels in"),
    ];
    for (text, expected) in wrong {
        let error: String = found(text).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
    let error = found(&npy("<f4", &[2], &floats(&[1.0, 2.0]))).expect_err("floats are no classes");
    assert!(error.contains("expected integers as classes"), "{error}");
}

#[test]
fn what_does_not_fit_is_said() {
    let folder = folder();
    let model = module(&[FLOATS]);
    let of = |name: &str, bytes: &[u8], model: &Module| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).expect("a file");
        match open(&args(&[&file]), model) {
            Err(error) => error,
            Ok(set) => set.inputs(0).expect_err(name).to_string(),
        }
    };
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("shape.npy", npy("<f4", &[2, 3], &floats(&[0.0; 6])), "expected shape 1x2x2x3 or Nx2x2x3, got 2x3"),
        ("short.npy", npy("<f4", &[2, 2, 3], &[0; 8]), "expected 48 bytes of numbers, got 8"),
        ("type.npy", npy("<c8", &[2, 2, 3], &[0; 96]), "expected numbers of 8 to 64 bits"),
        ("order.npy", npy(">f4", &[2, 2, 3], &[0; 48]), "little-endian"),
        ("none.npy", b"hello".to_vec(), "expected a .npy file"),
        ("size.bin", vec![0; 12], "--data-type=uint8"),
        ("bad.png", b"\x89PNG\r\n\x1a\nrubbish".to_vec(), "expected a picture"),
        ("bad.npz", b"PK\x03\x04rubbish".to_vec(), "expected a .npz archive"),
    ];
    for (name, bytes, expected) in cases {
        let error = of(name, &bytes, &model);
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
    let mut values = [0.0; 12];
    values[5] = f32::NAN;
    let error = of("nan.npy", &npy("<f4", &[2, 2, 3], &floats(&values)), &model);
    assert!(error.contains("expected finite numbers, got NaN at element 5"), "{error}");
    let odd = module(&["tensor<1x2x2x3x!quant.uniform<i8:f32, 0.02:3>>"]);
    let error = of("pixels.npy", &npy("|u1", &[2, 2, 3], &TWELVE), &odd);
    assert!(error.contains("expected an input whose type spans 0 to 1"), "{error}");
    let error = of("wide.npy", &npy("<i4", &[2, 2, 3], &[0; 48]), &odd);
    assert!(error.contains("expected values of type i8, ui8 or f32"), "{error}");
    let flat = module(&["tensor<1x12xf32>"]);
    let error = of("flat.png", b"", &flat);
    assert!(error.contains("expected an input of 1 x height x width x 1 or 3"), "{error}");
}

#[test]
fn sets_that_are_empty_or_mixed_are_refused() {
    let folder = folder();
    let model = module(&[FLOATS]);
    let error = open(&args(&[folder.path()]), &model).expect_err("it is empty");
    assert!(error.contains("expected samples in") && error.contains(".npy"), "{error}");
    std::fs::write(folder.path().join("a.bin"), [0; 48]).expect("a file");
    let none = DataArgs { skip: 1, ..args(&[folder.path()]) };
    assert!(open(&none, &model).expect_err("all are skipped").contains("fewer than 1 samples to --skip"));
    std::fs::create_dir(folder.path().join("class")).expect("a folder");
    assert!(open(&args(&[folder.path()]), &model).expect_err("both").contains("got both"));
    std::fs::remove_dir(folder.path().join("class")).expect("an empty folder");
    std::fs::write(folder.path().join("b.npy"), npy("<f4", &[2, 2, 3], &[0; 48])).expect("a file");
    assert!(open(&args(&[folder.path()]), &model).expect_err("two kinds").contains("files of one kind"));
    let missing = folder.path().join("missing");
    assert!(open(&args(&[&missing]), &model).expect_err("nothing is there").contains("cannot read"));
}

#[test]
fn normalizations_are_checked() {
    for wrong in ["1", "1,0", "a,b", "1/2,1/2/3", "nan,1", ""] {
        assert!(wrong.parse::<Normalization>().is_err(), "{wrong}");
    }
    let both: Normalization = "1/2/3,2".parse().expect("one STD for all");
    assert_eq!((both.real(5.0, 2), both.channels()), (1.0, Some(3)));
}

/// Damaged files end in errors, never in panics.
#[test]
fn damaged_files_are_refused() {
    let folder = folder();
    let picture = folder.path().join("a.png");
    png(&picture, 2, 2, &TWELVE);
    let photograph = folder.path().join("a.jpg");
    image::save_buffer(&photograph, &TWELVE, 2, 2, image::ExtendedColorType::Rgb8).expect("a picture");
    let (array, archive) = (folder.path().join("a.npy"), folder.path().join("a.npz"));
    let whole = npy("<f4", &[2, 2, 3], &floats(&[1.0; 12]));
    std::fs::write(&array, &whole).expect("a file");
    npz(&archive, &[("in0", whole)]);
    let model = module(&[FLOATS]);
    let mut state = 1u32;
    for file in [&picture, &photograph, &array, &archive] {
        let bytes = std::fs::read(file).expect("the file");
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % damaged.len();
                damaged[at] = (state >> 3) as u8;
            }
            if state & 4 == 0 {
                damaged.truncate((state >> 9) as usize % bytes.len());
            }
            std::fs::write(file, &damaged).expect("a file");
            if let Ok(set) = open(&args(&[file]), &model) {
                let _ = set.inputs(0);
            }
        }
    }
}
