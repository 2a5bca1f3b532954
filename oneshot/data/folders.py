"""Images in a folder for each class. Folders alone decide what is a split and what is a class, never names of files.

1. The folders of the first level are splits if all of them have names of splits (SPLITS, in any case, or the value of
   data.test_split). Else they are classes.
   But train_images and test_images, or train2017 and val2017, are refused: see `check_names`.
2. Below a split each folder is a class. All that is deeper belongs to that class.
3. A class has the name of its folder in Unicode's form NFC, so one name in two forms is one class.
4. Hidden files and what systems leave behind (`tree.JUNK`) are not seen. Links are followed, but no folder is read
   twice for a class.
5. What cannot be meant is refused: see the errors of `read_folder`.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .decoding import Encoded
from .duplicates import file_size
from .images import stratified
from .pixels import Pixels, shown
from .tree import Tree, folded, identity, name_of, suffix

TRAIN, TEST, VALIDATION = "train", "test", "validation"
SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), TEST),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
}
METADATA = {"metadata.csv", "metadata.jsonl", "metadata.parquet"}  # labels of images that are in no class folder
TABLES = {"parquet", "arrow"}  # files that hold a whole data set
READABLE = {"csv", "json", "jsonl", "tar"}  # files that `datasets` may read as one
ARCHIVES = {"zip", "gz", "tgz", "7z", "rar"}
EXPECTED = "expected are FOLDER/CLASS/*.png, or FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png"
SHOWN = 5  # names or paths that a message lists


class Files(Encoded):
    """Image files of a split, which are not decoded yet.

    Args:
        split: Name of the split, for messages.
        paths: Path of each image.
        targets: int64 (n,), the class of each.
        options: What an image becomes.
        skip_corrupt: Whether `decode_all` leaves out files that cannot be decoded.
    """

    def __init__(
        self, split: str, paths: Sequence[str], targets: Tensor, options: Pixels, skip_corrupt: bool = False
    ) -> None:
        super().__init__(split, targets, options, skip_corrupt)
        self.paths = np.array([os.fsencode(path) for path in paths], dtype=bytes)  # small, and shared by processes

    def content(self, index: int) -> str:
        """Return the path of an image."""
        return os.fsdecode(bytes(self.paths[index]))

    def sizes(self) -> np.ndarray:
        """Return the size of each file in bytes."""
        return np.fromiter((file_size(self.content(index)) for index in range(len(self))), np.int64, len(self))

    def name(self, index: int) -> str:
        """Return the path of an image, as it is shown."""
        return shown(self.content(index))

    def files(self) -> list[str]:
        """Return the path of each image."""
        return [self.content(index) for index in range(len(self))]

    def take(self, split: str, chosen: Tensor) -> "Files":
        """Return some of the images as another split.

        Args:
            split: Its name.
            chosen: bool (n,).
        """
        paths = [self.content(int(i)) for i in chosen.nonzero().squeeze(1)]
        return Files(split, paths, self.targets[chosen], self.options, self.skip_corrupt)


@dataclass
class Folder:
    """Class folders that were read, but no image of them.

    Args:
        classes: Names of the classes, sorted.
        train: The training images.
        test: The test images; None if there is no split for them.
        left_out: What was left out, in words.
        remarks: What else a user should know before a run.
    """

    classes: tuple[str, ...]
    train: Files
    test: Files | None
    left_out: list[str]
    remarks: list[str]


def holds_images(tree: Tree) -> bool:
    """Return whether a folder is one of image files, and not one of tables or of a list of images with labels.

    Args:
        tree: The folder.

    Raises:
        InputError: If it is empty or holds nothing but archives.
    """
    levels = list(tree.everything())
    others = [path for level in levels for path in level.others]
    images = sum(len(level.images) for level in levels)
    if not images and not others:
        raise InputError(f"data.source={shown(tree.root)}: the folder is empty; {EXPECTED}")
    if any(suffix(path) in TABLES for path in others) or metadata(tree):
        return False
    archives = [path for path in others if suffix(path) in ARCHIVES]
    if not images and len(archives) == len(others):
        raise InputError(f"data.source={shown(tree.root)}: holds {shown(archives[0])} and no images; unpack it first")
    if not images and not any(suffix(path) in READABLE for path in others):
        raise InputError(
            f"data.source={shown(tree.root)}: holds no images of a known format (first file: {shown(others[0])}); "
            f"{EXPECTED}"
        )
    return bool(images)


def metadata(tree: Tree) -> list[str]:
    """Return the files that list images with their labels (METADATA), in a folder or in the folders in it.

    Args:
        tree: The folder.
    """
    top = tree.look(tree.root)
    levels = [top, *(tree.look(path) for path in top.folders)]
    return [path for level in levels for path in level.others if is_list(path)]


def is_list(path: str) -> bool:
    """Return whether a file lists images with their labels, by its name.

    Args:
        path: The file.
    """
    return os.path.basename(path).lower() in METADATA


def split_folders(tree: Tree, test_split: str = "") -> dict[str, str]:
    """Return the folders of the first level that are splits.

    Args:
        tree: The folder.
        test_split: Name of a folder that is one too; or empty.

    Returns:
        From the path of a folder to TRAIN, TEST or VALIDATION; empty if the folders are classes.
    """
    names = {path: folded(os.path.basename(path)) for path in tree.look(tree.root).folders}
    if not names or any(name not in SPLITS and name != folded(test_split) for name in names.values()):
        return {}
    return {path: SPLITS.get(name, TEST) for path, name in names.items()}


def choose(tree: Tree, splits: dict[str, str], test_split: str = "") -> tuple[str, str | None]:
    """Return the folder of the training split and that of the test split.

    Args:
        tree: The folder.
        splits: Its splits, from `split_folders`.
        test_split: Name of the test split: a folder, or test or validation; empty: test, or else validation.

    Returns:
        The path of the training split, and that of the test split or None.

    Raises:
        InputError: If there is no training split, no split with the name, or more than one folder for a split.
    """
    root = f"data.source={shown(tree.root)}"
    listed = ", ".join(shown(os.path.basename(path)) for path in splits)
    named = [path for path in splits if test_split and folded(os.path.basename(path)) == folded(test_split)]
    roles = [SPLITS.get(folded(test_split), "")] if test_split else [TEST, VALIDATION]
    tests = named or next((p for role in roles if (p := [q for q in splits if splits[q] == role])), [])
    trains = [path for path in splits if splits[path] == TRAIN and path not in named]
    if not trains:
        raise InputError(f"{root}: no split 'train'; there are: {listed}")
    if test_split and not tests:
        raise InputError(f"{root}: no split {test_split!r}; there are: {listed}")
    for several in (trains, tests):
        if len(several) > 1:
            raise InputError(
                f"{shown(several[0])} and {shown(several[1])}: are two folders for one split; join them"
                + ("" if several is trains else ", or choose one with data.test_split")
            )
    if tests and identity(trains[0]) == identity(tests[0]):
        raise InputError(f"{shown(trains[0])} and {shown(tests[0])}: are one folder, so the test images are trained on")
    return trains[0], tests[0] if tests else None


def like_split(name: str) -> tuple[str, str]:
    """Return the split that a name is like, with something added: train_images, val2017, TestSet, images-train.

    Args:
        name: Name of a folder.

    Returns:
        TRAIN, TEST, VALIDATION or empty; and what was added.
    """
    for word in sorted(SPLITS, key=len, reverse=True):
        if found := re.search(rf"(?<![^\W\d_]){word}|{word}(?![^\W\d_])", folded(name)):
            return SPLITS[word], folded(name)[: found.start()] + folded(name)[found.end() :]
    return "", ""


def check_names(tree: Tree) -> None:
    """Check that folders of the first level that are classes are not splits with something added to their names.

    Args:
        tree: The folder.

    Raises:
        InputError: If all that hold images are like splits, and two of different splits have the same addition, hold
            folders of the same name, or a list each.
    """
    folders = [p for p in tree.look(tree.root).folders if any(level.images for level in tree.below(p, {*tree.above}))]
    like = {path: like_split(os.path.basename(path)) for path in folders}
    if not all(split for split, _ in like.values()):
        return
    inside = {path: {folded(os.path.basename(p)) for p in tree.look(path).folders} for path in folders}
    lists = {path for path in folders if any(map(is_list, tree.look(path).others))}
    for a, b in ((a, b) for a in folders for b in folders if a < b and like[a][0] != like[b][0]):
        if like[a][1] == like[b][1] or inside[a] & inside[b] or {a, b} <= lists:
            raise InputError(
                f"{shown(a)} and {shown(b)}: look like splits, but would be two classes; name them "
                f"{like[a][0]} and {like[b][0]}; if they are classes, move them into a folder that is called {TRAIN}"
            )


def check_levels(tree: Tree) -> None:
    """Check that folders of the first level that are classes are not splits beside other folders.

    Args:
        tree: The folder.

    Raises:
        InputError: If two of them have the names of different splits and hold folders of the same name.
    """
    top = tree.look(tree.root)
    like = {path: SPLITS[name] for path in top.folders if (name := folded(os.path.basename(path))) in SPLITS}
    inside = {path: {folded(os.path.basename(p)) for p in tree.look(path).folders} for path in like}
    for path, other in ((a, b) for a in like for b in like if a < b and like[a] != like[b]):
        if inside[path] & inside[other]:
            rest = next(p for p in top.folders if p not in like)
            raise InputError(
                f"{shown(path)} and {shown(other)}: look like splits, but {shown(rest)} beside them is none; move it "
                "away, or name it with data.test_split"
            )


def classes_below(tree: Tree, path: str) -> tuple[dict[str, list[str]], list[str]]:
    """Return the images of the class folders in a folder.

    Args:
        tree: The whole folder.
        path: The folder that holds the class folders.

    Returns:
        From the name of a class to the paths of its images, which may be none; and the paths of other files in class
        folders.

    Raises:
        InputError: If a class holds splits; two names differ in spaces around them alone; two classes are one folder.
    """
    found, others = dict[str, list[str]](), list[str]()
    folders = dict[tuple[int, int], str]()
    stripped = dict[str, str]()
    outside = {*tree.above, identity(path)}
    for folder in tree.look(path).folders:
        name, number = name_of(folder), identity(folder)
        if number in outside:
            tree.back[folder] = None
            continue
        if (same := folders.setdefault(number, folder)) != folder:
            raise InputError(f"{shown(same)} and {shown(folder)}: are one folder, so no image has one class")
        if name_of(near := stripped.setdefault(name.strip().casefold(), folder)) != name:
            if name_of(near).casefold() != name.casefold():
                raise InputError(f"{_quoted(near)} and {_quoted(folder)}: the names differ in spaces alone; rename one")
        inside = [folded(os.path.basename(p)) for p in tree.look(folder).folders]
        if {SPLITS.get(n) for n in inside} & {TEST, VALIDATION} and {SPLITS.get(n) for n in inside} >= {TRAIN}:
            if all(n in SPLITS for n in inside):
                raise InputError(
                    f"{shown(folder)}: holds the splits {', '.join(sorted(inside))}, which belong above the classes; "
                    f"{EXPECTED}"
                )
        images = found.setdefault(name, [])
        for level in tree.below(folder, set(outside)):
            images += level.images
            others += level.others
    return found, others


def read_folder(
    tree: Tree,
    options: Pixels,
    test_split: str = "",
    test_fraction: float = 0.0,
    skip_corrupt: bool = False,
) -> Folder:
    """Find the images of class folders, by the rules of this module. No image is opened.

    Args:
        tree: The folder.
        options: What an image becomes.
        test_split: Name of the folder of the test split; empty: test, or else validation.
        test_fraction: Share of each class that is held out as test images where there is no split for them. The same
            images for every seed.
        skip_corrupt: Whether files that cannot be decoded are left out.

    Raises:
        InputError: If there are no images in class folders, or less than two classes with training images; a class has
            test images alone; `test_fraction` comes with a test split or leaves a class without training images; also
            as `choose`, `check_levels`, `check_names` and `classes_below`.
    """
    splits = split_folders(tree, test_split)
    if splits:
        train_path, test_path = choose(tree, splits, test_split)
    else:
        check_levels(tree)
        check_names(tree)
        train_path, test_path = tree.root, None
        if test_split:
            folders = [os.path.basename(path) for path in tree.look(tree.root).folders]
            raise InputError(
                f"data.source={shown(tree.root)}: no split {test_split!r}; its folders are classes: "
                f"{', '.join(map(shown, folders[:SHOWN]))}"
            )
    tree.back.clear()
    train, others = classes_below(tree, train_path)
    test, more = classes_below(tree, test_path) if test_path else ({}, [])
    _check_classes(tree, train_path, train, test_path, test)
    classes = tuple(sorted(name for name, images in train.items() if images))
    train_files = _files(TRAIN, train, classes, options, skip_corrupt)
    test_files = _files(TEST, test, classes, options, skip_corrupt) if test_path else None
    if test_path and not any(test.values()):
        raise InputError(f"{shown(test_path)}: no images in class folders; {EXPECTED}")
    if test_fraction:
        if test_path:
            raise InputError(
                f"data.test_fraction={test_fraction}: is for data without a test split, and there is {shown(test_path)}"
            )
        train_files, test_files = held_out(train_files, classes, test_fraction)
    folder = Folder(
        classes, train_files, test_files, _left_out(tree, splits, (train_path, test_path), others + more), []
    )
    empty = sorted(name for name in {**train, **test} if not (train.get(name) or test.get(name)))
    if empty:
        folder.left_out.append(f"{_number(len(empty), 'class folder')} without images ({_names(empty)})")
    folder.remarks += remarks(classes, test_files)
    return folder


def held_out(files: Files, classes: Sequence[str], fraction: float) -> tuple[Files, Files]:
    """Hold out a share of each class for the test, the same images for every seed.

    Args:
        files: All images.
        classes: Names of the classes.
        fraction: The share.

    Returns:
        The training images and the test images.

    Raises:
        InputError: If a class would have no training images, or there would be no test images.
    """
    chosen = stratified(files.targets, round(fraction * len(files)))
    counts = torch.bincount(files.targets[~chosen], minlength=len(classes))
    if not chosen.any() or not bool(counts.all()):
        lacking = (
            "there would be no test images"
            if not chosen.any()
            else (f"the class {classes[int(counts.argmin())]!r} would have no training images")
        )
        raise InputError(f"data.test_fraction={fraction}: {lacking}")
    return files.take(TRAIN, ~chosen), files.take(TEST, chosen)


def remarks(classes: Sequence[str], test: Files | None) -> list[str]:
    """Return lines on what is allowed but may be a mistake.

    Args:
        classes: Names of the classes.
        test: The test images, if there are some.
    """
    lines = []
    near: dict[str, list[str]] = {}
    for name in classes:
        near.setdefault(name.strip().casefold(), []).append(name)
    for names in near.values():
        if len(names) > 1:
            lines.append(f"data: the classes {_names(names)} differ in capital letters alone")
    if test is not None:
        counts = torch.bincount(test.targets, minlength=len(classes)).tolist()
        lacking = [name for name, count in zip(classes, counts, strict=True) if not count]
        if lacking:
            lines.append(f"data: no test images of {_number(len(lacking), 'class', 'classes')}: {_names(lacking)}")
    return lines


def _files(
    split: str, found: dict[str, list[str]], classes: Sequence[str], options: Pixels, skip_corrupt: bool
) -> Files:
    paths = [path for name in classes for path in found.get(name, [])]
    targets = [index for index, name in enumerate(classes) for _ in found.get(name, [])]
    return Files(split, paths, torch.tensor(targets, dtype=torch.int64), options, skip_corrupt)


def _check_classes(
    tree: Tree, train_path: str, train: dict[str, list[str]], test_path: str | None, test: dict[str, list[str]]
) -> None:
    """Raise for classes that cannot be meant."""
    full = [name for name, images in train.items() if images]
    if not full:
        images = tree.look(train_path).images
        why = f"{len(images):,} images (first: {shown(images[0])}) and" if images else ""
        raise InputError(
            f"{shown(train_path)}: {why} no images in class folders; {EXPECTED}; or a metadata.csv with the columns "
            "file_name and label beside the images"
        )
    for name, images in test.items():
        if images and name not in full:
            close = next((n for n in full if n.strip().casefold() == name.strip().casefold()), "")
            hint = f" (there are some of {close!r})" if close else ""
            raise InputError(
                f"{shown(os.path.dirname(images[0]))}: test images of the class {name!r}, of which {shown(train_path)} "
                f"has no images{hint}"
            )
    if len(full) < 2:
        inside = os.path.join(train_path, full[0])
        raise InputError(
            f"{shown(train_path)}: has one class, {full[0]!r}; at least 2 are needed (if the data set is inside: "
            f"data.source={shown(inside)})"
        )


def _left_out(tree: Tree, splits: dict[str, str], used: tuple[str, str | None], others: Sequence[str]) -> list[str]:
    """What of a folder is not used, in words."""
    lines = [f"split {shown(path)}" for path in splits if path not in used]
    tops = [tree.root, *(path for path in splits if path in used)]
    beside = [path for top in tops for path in tree.look(top).images]
    for what, paths in (("image", beside), ("file", others)):
        where = (
            "outside class folders"
            if what == "image"
            else ("that are no images" if len(paths) > 1 else "that is no image")
        )
        if paths:
            lines.append(f"{_number(len(paths), what)} {where} (first: {shown(paths[0])})")
    if tree.back:
        first = next(iter(tree.back))
        lines.append(f"{_number(len(tree.back), 'link')} to folders that are read elsewhere (first: {shown(first)})")
    return lines


def _number(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _names(names: Sequence[str]) -> str:
    listed = ", ".join(repr(name) for name in names[:SHOWN])
    return listed if len(names) <= SHOWN else f"{listed}, ..."


def _quoted(path: str) -> str:
    return repr(shown(os.path.dirname(path)) + os.sep + os.path.basename(path))
