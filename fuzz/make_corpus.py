"""Writes the seeds of `corpus/` that can be said in words; those of the program's own files are copies of fixtures, or of
what a run on drawn pictures left. Standard library only, the same bytes each time.
"""
import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

here = Path(__file__).resolve().parent
root = here.parent
fixtures = root / "tests/fixtures"


def seed(target, name, content):
    folder = here / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def copies(target, folder, *patterns):
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            seed(target, path.name, path.read_bytes())


# --- experiments and sweeps ---

copies("config", root / "configs", "*.toml")
copies("config", fixtures / "bad_configs", "*.toml")
seed("config", "defaults.toml", (root / "src/defaults.toml").read_bytes())
HEAD = 'data.root = "d"\n[model]\narch = "vgg16_slim"\nweights = "none"\n'
PHASE = '[[phase]]\nname = "head"\nepochs = %s\ntrainable = ["%s"]\n'
whole = HEAD + PHASE % ("3", "classifier")
seed("config", "sets", "\0".join([whole, "optimizer.lr=1e-4", "phase.head.epochs=2", "name=2024", "RUNNER_OPTIMIZER__LR=1e-3"]))
seed("config", "bad_sets", "\0".join([whole, "=", "a.b.c=1", "phase.x.y=[", "extends=a", "phase=1", "data=1", "RUNNER_=", "RUNNER_A__B=1"]))
seed("config", "many_epochs.toml", HEAD + PHASE % (2**63 - 1, "all") + (PHASE % (2**63 - 1, "all")).replace("head", "tail"))
seed("config", "huge_numbers.toml", whole + "[data]\nbatch_size = 9223372036854775807\nmax_pixels = 9223372036854775807\n")
seed("config", "far_layers.toml", HEAD + PHASE % (1, "features[999999999999:]"))
seed("config", "near_layers.toml", HEAD + PHASE % (1, "features[-999999:999999]"))
for name, value in [("nan", "nan"), ("inf", "-inf"), ("large", "1e308"), ("small", "5e-324"), ("hex", "0xffffffffffffffff")]:
    seed("config", f"lr_{name}.toml", whole.replace("data.root", f"optimizer.lr = {value}\ndata.root"))
for name, value in [("float", "1e300h"), ("many", "4294967295h"), ("negative", "-1s"), ("unit", "1é")]:
    seed("config", f"span_{name}.toml", f'training.checkpoint_every = "{value}"\n' + whole)
seed("config", "deep_arrays.toml", "seed = " + "[" * 3000)
seed("config", "deep_tables.toml", "seed = " + "{a=" * 1500)
seed("config", "deep_keys.toml", ".".join(["a"] * 3000) + " = 1")
seed("config", "deep_header.toml", "[" + ".".join(["a"] * 79) + "]\n" + ".".join(["b"] * 79) + " = " + "[" * 79 + "]" * 79)
seed("config", "binary.toml", b"\x89PNG\r\n\x1a\n" + bytes(range(128)))
seed("config", "lines_without_meaning.toml", "a,b,c\n" * 200)
seed("config", "wide_letters.toml", 'name = "語語語語"\n"ключ" = "\U0001f600"\r\n\ttab = 1\n' + whole)

SWEEP = 'base = "base.toml"\n'
copies("sweep", root / "configs/sweeps", "*.toml")
for path in sorted((root / "configs/sweeps").glob("*.toml")):
    lines = path.read_text().splitlines(keepends=True)
    lines = [SWEEP if line.startswith("base") else line for line in lines]
    seed("sweep", path.name, "".join(lines))
seed("sweep", "defaults.toml", (root / "src/sweep/defaults.toml").read_bytes())
seed("sweep", "grid.toml", SWEEP + "[set]\nphase.head.epochs = 3\n[axes]\noptimizer.lr = [1e-4, 1e-3]\nseed = [1, 2]\n")
seed("sweep", "random.toml", SWEEP + 'method = "random"\nmax_trials = 5\n[axes]\noptimizer.lr = { log_uniform = [1e-5, 1e-2] }\n'
     'seed = { uniform = [0, 9223372036854775807] }\nmodel.dropout = { uniform = [0.0, 0.9] }\n')
seed("sweep", "few_draws.toml", SWEEP + 'method = "random"\nmax_trials = 10000\n[axes]\noptimizer.lr = { uniform = [1.0, 1.0000001] }\n')
seed("sweep", "ends.toml", SWEEP + 'method = "random"\nmax_trials = 9\n[axes]\noptimizer.lr = { uniform = [-1.7e308, 1.7e308] }\n'
     'seed = { uniform = [-9223372036854775808, 9223372036854775807] }\ntraining.clip_grad_norm = { log_uniform = [5e-324, 1.7e308] }\n')
axes = "".join(f"a{axis} = [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" for axis in range(40))
seed("sweep", "sobol_asha.toml", SWEEP + 'method = "sobol"\nmax_trials = 9\nmax_gib = 0.5\n[search]\nkind = "asha"\neta = 2\nmin_epochs = 2\nmax_epochs = 9\n'
     "[axes]\noptimizer.lr = { log_uniform = [1e-5, 1e-2] }\n")
seed("sweep", "slurm.toml", SWEEP + '[launcher]\nkind = "slurm"\nmax_parallel = 8\nmax_attempts = 2\nslurm = { time = "1-02:00", gres = "gpu:a100:1", '
     'mem = "16G", warn_s = 300, setup = ["module load cuda"], extra = ["--exclude=n7"] }\n[axes]\nseed = [1, 2]\n')
seed("sweep", "large_grid.toml", SWEEP + "[axes]\n" + axes)
seed("sweep", "factors.toml", SWEEP + '[axes]\nphase.head.lr_factors = [{ "classifier" = 0.1 }, { "classifier[0]" = 2 }]\nphase.head.trainable = [["all"], ["classifier"]]\n')
seed("sweep", "deep.toml", SWEEP + "[axes]\n" + ".".join(["a"] * 70) + " = [" * 70 + "1" + "]" * 70)

# --- the directory of a sweep: search.toml, trials.csv, two arrivals, a promotion, a failure, a claim, submissions, squeue ---

SEARCH = 'metric = "valid_loss"\nmax_attempts = 2\nrungs = [1, 3]\neta = 2\naxes = ["optimizer.lr"]\n'
TRIALS = "number,name,key,bytes,optimizer.lr\n1,a,0123456789abcdef,1000,1e-3\n2,b,fedcba9876543210,1000,1e-4\n"
ARRIVAL = 'key = "%s"\n[best]\nepoch = 1\nvalue = %s\nloss = %s\n'
CLAIM = 'host = "n1"\nmachine = ""\nprocess = 7\nprocess_started = 1\ntoken = "a"\ncommand = "runner"\nsince = "2026-11-30T00:00:00+00:00"\njob = "2_1"\nrestarts = 1\nbeat = 3\n'
SUBMISSIONS = "".join(json.dumps(line) + "\n" for line in [
    {"event": "submitting", "submission": 1, "job_name": "s-1-00000000", "n_tasks": 2, "time": "2026-11-30T00:00:00+00:00"},
    {"event": "submitted", "submission": 1, "job": 2, "time": "2026-11-30T00:00:00+00:00"},
])
sweep_files = [SEARCH, TRIALS, ARRIVAL % ("0123456789abcdef", "0.5", "0.5"), ARRIVAL % ("fedcba9876543210", "nan", "inf"), "",
               'reason = "no"\nattempts = 1\nat = "2026-11-30T00:00:00+00:00"\n', CLAIM, SUBMISSIONS,
               "2_1|RUNNING|None|n1|s-1-00000000\n2_2|PENDING|Resources||s-1-00000000\n"]
seed("trials", "two", "\0".join(sweep_files))
seed("trials", "full", "\0".join([SEARCH.replace("[1, 3]", "[]").replace("eta = 2", "eta = 0"), *sweep_files[1:]]))
seed("trials", "bad_rungs", "\0".join([SEARCH.replace("[1, 3]", "[3, 1]"), *sweep_files[1:]]))
seed("trials", "no_eta", "\0".join([SEARCH.replace("eta = 2", "eta = 0"), *sweep_files[1:]]))
seed("trials", "promoted", "\0".join([*sweep_files[:4], 'key = "0123456789abcdef"\n[by]\n' + CLAIM, *sweep_files[5:]]))
seed("trials", "torn", "\0".join([SEARCH, TRIALS[:-20], "", "", "x", "", "", SUBMISSIONS[:-30], "2_|\n|||\n"]))

# --- images ---

copies("image", fixtures / "images", "*.png", "*.jpg", "*.gif", "*.bmp", "*.webp", "*.tif")
copies("image", fixtures / "images/unread", "*")
copies("image", fixtures / "images/jpeg", "*_17x13.jpg", "*_41?.jpg", "*_44?.jpg", "*_scans.jpg")
copies("image", fixtures / "images/damaged", "*")


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, extra=b"", bits=8, colour=2, pixels=None):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = b"".join(b"\0" + bytes(3 * width) for _ in range(height)) if pixels is None else pixels
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


def image(name):
    return (fixtures / "images" / name).read_bytes()


def patched(content, at, new):
    return content[:at] + new + content[at + len(new):]


zeros = zlib.compress(bytes(32 << 20), 9)
whole = (fixtures / "images/rgb_tiff_adobe_deflate.tif").read_bytes()
tag = lambda number, n, value: struct.pack("<HHII", number, 3, n, value)
large = whole.replace(tag(256, 1, 23) + tag(257, 1, 17), tag(256, 1, 65535) + tag(257, 1, 65535))
# In one strip.
seed("image", "large.tif", large.replace(tag(278, 1, 17), tag(278, 1, 65535)))
seed("image", "long_tag.tif", whole.replace(struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 2**31 - 1)))
seed("image", "large.png", png(65535, 65535, bits=1, colour=0, pixels=bytes(8193)))
seed("image", "largest.png", png(2**31 - 1, 2**31 - 1, pixels=bytes(100)))
seed("image", "profile_of_32_mib.png", png(8, 8, chunk(b"iCCP", b"x\0\0" + zeros)))
seed("image", "text_of_32_mib.png", png(8, 8, chunk(b"zTXt", b"x\0\0" + zeros)))
exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + struct.pack("<HHII", 0x112, 3, 1, 6) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
seed("image", "exif_that_points_at_itself.png", png(4, 3, chunk(b"eXIf", exif)))
app1 = b"Exif\0\0" + exif
baseline, progressive = image("baseline.jpg"), image("progressive.jpg")
seed("image", "exif_that_points_at_itself.jpg", baseline[:2] + b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1 + baseline[2:])
for name, content, marker in [("baseline", baseline, b"\xff\xc0"), ("progressive", progressive, b"\xff\xc2")]:
    seed("image", f"large_{name}.jpg", patched(content, content.index(marker) + 5, struct.pack(">HH", 65500, 65500)))
start, end = progressive.rindex(b"\xff\xda"), progressive.rindex(b"\xff\xd9")
seed("image", "many_scans.jpg", progressive[:end] + progressive[start:end] * 60 + progressive[end:])
gif = image("first_frame.gif")
seed("image", "large_screen.gif", patched(gif, 6, struct.pack("<HH", 65535, 65535)))
frame = gif.index(b"\x2c", 13)
seed("image", "large_frame.gif", patched(gif, frame + 5, struct.pack("<HH", 65535, 65535)))
bmp = image("rgb.bmp")
for name, size in [("wide", (2**31 - 1, 17)), ("upside_down", (23, -17)), ("lowest", (23, -2**31)), ("square", (2**31 - 1, 2**31 - 1))]:
    seed("image", f"{name}.bmp", patched(bmp, 18, struct.pack("<ii", *size)))


def riff(*chunks):
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2) for name, content in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def canvas(width, height, flags=0):
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


lossless = image("lossless.webp")[20:]
bits = int.from_bytes(lossless[1:5], "little") >> 28 << 28
vast = lossless[:1] + (bits | 16383 | 16383 << 14).to_bytes(4, "little") + lossless[5:]
seed("image", "large_lossless.webp", riff((b"VP8L", vast)))
seed("image", "large_canvas.webp", riff(canvas(1 << 24, 1 << 24), (b"VP8L", lossless)))
seed("image", "larger_than_its_canvas.webp", riff(canvas(16, 16), (b"VP8L", vast)))
lossy = image("lossy.webp")
seed("image", "large_lossy.webp", patched(lossy, lossy.index(b"\x9d\x01\x2a") + 3, struct.pack("<HH", 16383, 16383)))
inner = b"VP8L" + struct.pack("<I", len(lossless)) + lossless + b"\0" * (len(lossless) % 2)
moving = bytes(6) + (22).to_bytes(3, "little") + (16).to_bytes(3, "little") + bytes(4) + inner
seed("image", "moving.webp", riff(canvas(23, 17, 2), (b"ANIM", bytes(6)), (b"ANMF", moving), (b"ANMF", moving)))

# --- weights ---

copies("pth", fixtures / "weights", "*.pth")
copies("safetensors", fixtures / "weights", "*.safetensors")


class Harm:
    """What `pickle.load` would run."""

    def __reduce__(self):
        import os
        return os.system, ("touch runner-executed-a-pickle",)


def torch_zip(pickled, storages=(), method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in [("data.pkl", pickled), ("version", b"3\n"), ("byteorder", b"little"), *storages]:
            archive.writestr(zipfile.ZipInfo(f"w/{name}"), content, method)
    return out.getvalue()


def tensor(storage_values, shape, strides, name=b"a"):
    """Opcodes of a dict with one tensor of `FloatStorage`."""
    ints = lambda values: b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"
    text = lambda value: b"X" + struct.pack("<I", len(value)) + value
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + b"\x8a\x08" + struct.pack("<q", storage_values) + b"tQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + ints(shape) + ints(strides) + b"\x89}tR"
    return b"\x80\x02}" + text(name) + rebuilt + b"s."


numbers = struct.pack("<4f", 1, 2, 3, 4)
harm = pickle.dumps({"features.0.weight": Harm()}, 2)
seed("pth", "harm_bare.pth", harm)
seed("pth", "harm_protocol_0.pth", b"cos\nsystem\n(S'touch runner-executed-a-pickle'\ntR.")
seed("pth", "harm_in_zip.pth", torch_zip(harm))
seed("pth", "harm_builtins.pth", torch_zip(b"\x80\x02}X\x01\0\0\0acbuiltins\neval\n(X\x0c\0\0\0open('x','w')tRs."))
seed("pth", "one_tensor.pth", torch_zip(tensor(4, [2, 2], [2, 1]), [("data/0", numbers)]))
seed("pth", "repeats_itself.pth", torch_zip(tensor(1, [1 << 31], [0]), [("data/0", numbers[:4])]))
seed("pth", "repeats_itself_often.pth", torch_zip(tensor(4, [1 << 15, 1 << 15, 2], [0, 0, 1]), [("data/0", numbers)]))
seed("pth", "claims_much.pth", torch_zip(tensor(1 << 40, [1 << 40], [1]), [("data/0", numbers)]))
seed("pth", "product_overflows.pth", torch_zip(tensor(4, [1 << 40, 1 << 40], [1, 1]), [("data/0", numbers)]))
seed("pth", "empty_but_vast.pth", torch_zip(tensor(4, [1 << 40, 0, 1 << 40], [1, 1, 1]), [("data/0", numbers)]))
seed("pth", "negative.pth", torch_zip(tensor(4, [-1], [-1]), [("data/0", numbers)]))
seed("pth", "bomb_pickle.pth", torch_zip(b"\x80\x02" + b"]" + bytes(8 << 20), method=zipfile.ZIP_DEFLATED))
seed("pth", "bomb_storage.pth", torch_zip(tensor(2 << 20, [2 << 20], [1]), [("data/0", bytes(8 << 20))], zipfile.ZIP_DEFLATED))
seed("pth", "deep_lists.pth", b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".")
seed("pth", "memo_bomb.pth", b"\x80\x02]q\0" + b"(h\0h\0eq\0" * 40 + b".")
seed("pth", "long_string.pth", b"\x80\x02X\xff\xff\xff\xff.")
seed("pth", "long_bytes.pth", b"\x80\x04\x8e" + b"\xff" * 8 + b".")
tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
    float_storage = pickle.PROTO + b"\x02(X\x01\0\0\x000X\x03\0\0\0cpuctorch\nFloatStorage\nt."
    float_tensor = pickle.PROTO + b"\x02(X\x01\0\0\x001X\x01\0\0\x000ctorch\nFloatTensor\nt."
    for name, content in [
        ("sys_info", pickle.dumps({"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 8}}, 2)),
        ("storages", pickle.dumps(1, 2) + float_storage + struct.pack("<q", 4) + numbers + pickle.dumps([], 2)),
        ("tensors", pickle.dumps(1, 2) + float_tensor + struct.pack("<i4xqqqqq", 2, 2, 2, 2, 1, 0)),
        ("pickle", b"\x80\x02}X\x01\0\0\0aX\x01\0\0\x001Qs."),
    ]:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
seed("pth", "tar.pth", tar.getvalue()[: 10 * 512])


def safetensors(header, content=b"", length=None):
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def entry(shape, ends, dtype="F32"):
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": ends}}


seed("safetensors", "one.safetensors", safetensors(entry([2, 2], [0, 16]), numbers))
for dtype, size in [("F64", 2), ("F16", 8), ("BF16", 8), ("I8", 16), ("F4", 32), ("F8_E4M3", 16), ("C64", 2)]:
    seed("safetensors", f"{dtype}.safetensors", safetensors(entry([size], [0, 16], dtype), numbers))
seed("safetensors", "vast.safetensors", safetensors(entry([1 << 62, 1 << 62], [0, 16]), numbers))
seed("safetensors", "vast_and_empty.safetensors", safetensors(entry([1 << 62, 0, 1 << 62], [0, 0])))
seed("safetensors", "far.safetensors", safetensors(entry([4], [2**64 - 16, 2**64 - 1]), numbers))
seed("safetensors", "backwards.safetensors", safetensors(entry([4], [16, 0]), numbers))
seed("safetensors", "long_header.safetensors", safetensors(entry([4], [0, 16]), numbers, 2**63))
seed("safetensors", "deep.safetensors", safetensors('{"__metadata__":' + "[" * 3000, b""))
seed("safetensors", "names_twice.safetensors", safetensors('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}', numbers))
seed("safetensors", "wrapped.safetensors", safetensors({"module._orig_mod.a": entry([4], [0, 16])["a"]}, numbers))

# --- tables ---

rows = ["cat/1.jpg,cat,train", "cat/2.jpg,cat,valid", "dog/1.jpg,dog,train", '"dog/2,"".jpg",dog,test']
seed("split", "good.csv", "file,class,split\n" + "\n".join(rows) + "\n")
seed("split", "turned.csv", "split,file,class\r\ntrain,cat/1.jpg,cat\r\nvalid,cat/2.jpg,cat\r\ntrain,dog/1.jpg,dog\r\n")
seed("split", "bad.csv", "file,class,split\ncat/1.jpg,dog,train\ncat/1.jpg,cat,train\ncat/1.jpg,cat,test\ncat/9.jpg,cat,x\ncat/bad.jpg,cat,valid\n")
seed("split", "columns.csv", "file,class,split" + ",x" * 2000 + "\n" + "," * 2002 + "\n")
seed("split", "quotes.csv", 'file,class,split\n"cat/1.jpg,cat,train\n""""\n')
seed("split", "no_header.csv", "\n".join(rows))
seed("split", "no_text.csv", b"\xef\xbb\xbffile,class,split\n\xff\xfe,\0,train\n")

found = {"bytes": 1000, "modified_ns": 7, "verdict": {"Image": "ab" * 32}}
memory = {"format": 1, "root": "/a/folder/of/photos", "max_pixels": 1000, "files": {"cat/1.jpg": found, "cat/2.jpg": found | {"verdict": {"Rejected": "is empty"}}}}
seed("scan_memory", "good.json", json.dumps(memory))
seed("scan_memory", "other.json", json.dumps(memory | {"format": 2}))
seed("scan_memory", "numbers.json", json.dumps(memory).replace("1000", "1e400").replace("7", "-1"))
seed("scan_memory", "deep.json", "[" * 5000)

# --- files that are continued ---

job = "{}\n"
table = 'file,class,probability,error\na.jpg,cat,0.5,\n"b\n"".jpg",,,is damaged\n'
lines = '{"file":"a.jpg","class":"cat","probability":0.5,"error":null}\n{"file":"b","error":"is damaged"}\n'
seed("predictions", "good.csv", job + table)
seed("predictions", "good.jsonl", job + lines)
seed("predictions", "cut.csv", job + table[:-4])
seed("predictions", "cut.jsonl", job + lines[:-4])
seed("predictions", "other_job.csv", '{"model_sha256":"ab"}\n' + table)
seed("predictions", "deep.jsonl", job + "[" * 5000)


def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(payload):
    def masked(content):
        crc = crc32c(content)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


time = b"\x09" + struct.pack("<d", 1e9)
version = record(time + b"\x1a\x0dbrain.Event:2")
seed("events", "version", version)
seed("events", "more", version + record(time + b"\x10\x05") + record(b"short"))
seed("events", "cut", (version + version)[:-3])
seed("events", "huge", struct.pack("<Q", 2**63) + bytes(20))

# --- archives ---


def archive(*entries, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = method
            file.writestr(info, content)
    return out.getvalue()


plain = 0o100644
good = archive(("PetImages/", b"", 0o040755), ("PetImages/Cat/1.jpg", b"one" * 50, plain), ("PetImages/Dog/2.jpg", b"two", plain))
seed("unpack", "good.zip", good)
seed("unpack", "stored.zip", archive(("a/b.jpg", b"one", plain), method=zipfile.ZIP_STORED))
for name, path, mode in [("up", "../a", plain), ("far_up", "a/../../../b", plain), ("root", "/tmp/a", plain), ("drive", "C:\\a", plain),
                         ("link", "a", 0o120777), ("device", "con.jpg", plain), ("colon", "a:b", plain), ("point", "a/./b", plain),
                         ("hidden", ".a.zip.unpacked/b", plain), ("long", "a" * 300, plain), ("deep", "/".join("a" * 200), plain), ("pipe", "a", 0o010644)]:
    seed("unpack", f"{name}.zip", archive((path, b"/etc/passwd", mode)))
seed("unpack", "cases.zip", archive(("a", b"1", plain), ("A", b"2", plain)))
seed("unpack", "file_and_folder.zip", archive(("a", b"1", plain), ("a/b", b"2", plain)))
seed("unpack", "bomb.zip", archive(("a", bytes(400_000), plain)))
lie = archive(("a", bytes(5000), plain))
seed("unpack", "says_less.zip", lie.replace(struct.pack("<I", 5000), struct.pack("<I", 5)))
seed("unpack", "says_more.zip", lie.replace(struct.pack("<I", 5000), struct.pack("<I", 6000)))
seed("unpack", "many_claimed.zip", patched(good, good.rindex(b"PK\x05\x06") + 8, b"\xfe\xff\xfe\xff"))
