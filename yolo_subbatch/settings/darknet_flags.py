"""The flags of Darknet's ``detector``: what each does here, or why it does nothing.

Source: darknet ``run_detector`` in examples/detector.c; AlexeyAB's in src/detector.c; ``main`` in both.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAIN, TEST, VALID, MAP, RECALL, ANCHORS = "train", "test", "valid", "map", "recall", "calc_anchors"
DEMO = "demo"
NETWORKS = (TRAIN, TEST, VALID, MAP, RECALL, DEMO)
ALL = (*NETWORKS, ANCHORS)


@dataclass(frozen=True)
class Flag:
    """A flag: ``value`` names what follows it, or is empty; ``kind`` is its type; ``acts`` where it does something.

    ``tip`` says what it does, ``why`` why it does nothing where it does not.
    """

    name: str
    value: str = ""
    kind: type = str
    acts: tuple[str, ...] = ()
    tip: str = ""
    why: str = ""


OF_DEMO = "it belongs to detector demo"
NO_AVERAGE = "every frame is shown as it is found, without averaging over frames"
NO_SERVER = "nothing is streamed from here; yolo-subbatch gui shows a run live"
FLAGS: dict[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag("-clear", "", bool, (TRAIN,), "start at iteration 0, whatever the weights file has seen",
             why="only training has iterations"),
        Flag("-map", "", bool, (TRAIN,), "measure mAP after every epoch and keep the best weights",
             why="detector train measures on the way; detector map is the command"),
        Flag("-dont_show", "", bool, ALL, "open no window, which detector demo alone does"),
        Flag("-gpus", "0,1", str, NETWORKS, "these GPUs; batch and rate of training are multiplied, as in Darknet",
             why="no network is run"),
        Flag("-i", "N", int, NETWORKS, "this GPU; -1 is the CPU", why="no network is run"),
        Flag("-nogpu", "", bool, NETWORKS, "use the CPU", why="no network is run"),
        Flag("-thresh", ".25", float, (TEST, MAP, DEMO), "least confidence of a box that is shown or counted",
             why="detector test, demo and map have it; this command counts at thresholds of its own"),
        Flag("-iou_thresh", ".5", float, (MAP,), "overlap above which a box is a hit",
             why="it is the threshold of detector map; a run's own mAP has 0.5 and 0.5 to 0.95"),
        Flag("-points", "0", int, (MAP,), "recalls at which precision is averaged: 0 (area), 11 or 101",
             why="it is the mean of detector map"),
        Flag("-letter_box", "", bool, NETWORKS, "keep the proportions of images; also letter_box=1 in the cfg",
             why="no image is read"),
        Flag("-out", "FILE", str, (TEST, VALID), "JSON file of what is found (test); start of the files' names (valid)",
             why="this command prints its result"),
        Flag("-ext_output", "", bool, (TEST, DEMO), "print the boxes too",
             why="only detector test and demo print boxes"),
        Flag("-save_labels", "", bool, (TEST,), "write what is found as the images' label files",
             why="only detector test finds labels"),
        Flag("-num_of_clusters", "5", int, (ANCHORS,), "how many anchors", why="it belongs to detector calc_anchors"),
        Flag("-width", "416", int, (ANCHORS,), "the network's width in pixels", why="the cfg says the width"),
        Flag("-height", "416", int, (ANCHORS,), "the network's height in pixels", why="the cfg says the height"),
        Flag("-show", "", bool, (ANCHORS,), "draw boxes and anchors into cloud.png", why="no window is opened"),
        Flag("-show_imgs", why="the run's folder has train_batch*.jpg, the images as the network gets them"),
        Flag("-check_mistakes", why="labels are always checked, and a wrong one is refused with its line"),
        Flag("-benchmark", why="the terminal shows images per second anyway"),
        Flag("-benchmark_layers", why="yolo-subbatch info shows what each layer costs"),
        Flag("-chart", "FILE", why="the loss is in the run's events.jsonl and results.png; yolo-subbatch gui plots it"),
        Flag("-verbose", why="what is done is said anyway"),
        Flag("-dont_save", why="what a run leaves is what it is resumed from"),
        Flag("-mAP_epochs", "N", int, why="mAP is measured after every epoch"),
        Flag("-mjpeg_port", "N", int, why=NO_SERVER),
        Flag("-json_port", "N", int, why=NO_SERVER),
        Flag("-http_port", "N", int, why=NO_SERVER),
        Flag("-http_post_host", "HOST", why=NO_SERVER),
        Flag("-hier", ".5", float, (TEST,), "how sure a class of YOLO9000 must be for its subclasses to be asked",
             why="only detector test has it; elsewhere it is 0.5, as in Darknet"),
        Flag("-cuda_debug_sync", why="CUDA_LAUNCH_BLOCKING=1 in the environment does it"),
        Flag("-ngpus", "N", int, why="-gpus names the GPUs, and so says how many they are"),
        Flag("-it_num", "N", int, why="it belongs to detector draw, which is not here"),
        Flag("-class", "N", int, why="it belongs to detector extract and censor, which are not here"),
        Flag("-out_filename", "FILE", str, (DEMO,), "write the video with its boxes to this file", why=OF_DEMO),
        Flag("-prefix", "NAME", str, (DEMO,), "write each frame as NAME_00000000.jpg and so on", why=OF_DEMO),
        Flag("-c", "N", int, (DEMO,), "this camera, where no video is given", why=OF_DEMO),
        Flag("-json_file_output", "FILE", str, (DEMO,), "JSON file of what is found", why=OF_DEMO),
        Flag("-time_limit_sec", "N", int, (DEMO,), "end after so many seconds", why=OF_DEMO),
        Flag("-dontdraw_bbox", "", bool, (DEMO,), "draw no boxes", why=OF_DEMO),
        Flag("-avgframes", "N", int, why=NO_AVERAGE),
        Flag("-avg", "N", int, why=NO_AVERAGE),
        Flag("-s", "N", int, why="every frame is looked at"),
        Flag("-w", "N", int, why="the camera says its width"),
        Flag("-fps", "N", int, why="the camera or the video says its frames per second"),
        Flag("-fullscreen", why="the window has the size of the video"),
    )
}  # fmt: skip
