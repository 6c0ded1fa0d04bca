"""The runner with a launcher that only pretends."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.execution.runner import Planned, StageFailedError, check, run
from pipelines.stage import read_stage
from pipelines.stage_types import STAGE_TYPES
from segkit.core import run_folder
from segkit.core.config import read_yaml
from segkit.core.errors import RequestError
from segkit.core.run_folder import STARTED, WORK
from tests.pipelines.tiny import STAGES, plan


class FakeLauncher:
    """Makes a result of one file for each command, or ends as told for the stages named."""

    def __init__(self, **endings: int) -> None:
        self.endings = endings
        self.launched: list[str] = []
        self.commands: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str]) -> int:
        name, out = command[command.index("stage") + 1], Path(command[command.index("--out") + 1])
        stage_file = Path(command[command.index("-c") + 1])
        assert read_stage(stage_file, STAGE_TYPES).name == name
        inputs = [text.split("=")[1] for text in command if "=" in text]
        for folder in inputs:
            assert run_folder.read_done(Path(folder)) is not None, f"{name} was launched before {folder} was there"
        self.launched.append(name)
        self.commands.append(command)
        fingerprint = read_yaml(stage_file)["fingerprint"]
        run_folder.prepare(out, stage_file.read_text(), fingerprint)
        if name in self.endings:
            return self.endings[name]
        (out / "result").write_text(name)
        run_folder.write_done(out, {"fingerprint": fingerprint, "outputs": run_folder.describe_outputs(out)})
        run_folder.remove_work(out)
        return 0


@pytest.fixture
def planned(config: Path, tmp_path: Path) -> list[Planned]:
    return plan(config, tmp_path / "runs")


def test_every_stage_is_launched_once_its_inputs_are_there(planned: list[Planned]) -> None:
    launch = FakeLauncher()
    said: list[str] = []
    run(planned, said.append, launch)
    assert launch.launched == STAGES
    assert said[0] == f"[1/11] data: running ({planned[0].folder.name})"
    assert said[1] == "[1/11] data: finished in 0 s"


def test_what_is_done_is_not_launched_again(planned: list[Planned]) -> None:
    run(planned, print, FakeLauncher())
    again = FakeLauncher()
    said: list[str] = []
    run(planned, said.append, again)
    assert again.launched == []
    assert said == [
        f"[{number}/11] {item.stage.name}: done ({item.folder.name})" for number, item in enumerate(planned, start=1)
    ]


def test_a_damaged_result_is_made_again_and_those_after_it_are_kept(planned: list[Planned]) -> None:
    run(planned, print, FakeLauncher())
    (planned[2].folder / "result").unlink()
    again = FakeLauncher()
    run(planned, print, again)
    assert again.launched == ["gan"]


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        (1, 1, r"stage gan failed .*"),
        (
            2,
            2,
            r"stage gan got an invalid request .*",
        ),
        (3, 1, r"stage gan failed .*"),
        (4, 1, r"stage gan stopped the run .*"),
        (99, 1, r"stage gan failed .*"),
        (143, 1, "stage gan was ended by SIGTERM; .*"),
        (-9, 1, r"stage gan was ended by SIGKILL \(out of memory\?\); .*"),
        (-1, 1, "stage gan was ended by SIGHUP; .*"),
        (-15, 1, "stage gan was ended by SIGTERM; .*"),
        (-99, 1, "stage gan was ended by signal 99; .*"),
    ],
)
def test_a_stage_that_ends_badly_ends_the_run_and_the_next_run_resumes_it(
    planned: list[Planned], code: int, exit_code: int, words: str
) -> None:
    broken = FakeLauncher(gan=code)
    with pytest.raises(StageFailedError, match=f"^{words}$") as raised:
        run(planned, print, broken)
    assert raised.value.exit_code == exit_code
    assert broken.launched == ["data", "teacher", "gan"]
    assert [item.state for item in planned[:4]] == ["done", "done", "started", "missing"]
    mended = FakeLauncher()
    said: list[str] = []
    run(planned, said.append, mended)
    assert mended.launched == STAGES[2:]
    assert said[2] == f"[3/11] gan: resuming ({planned[2].folder.name})"


def test_a_stage_that_claims_success_without_a_result_is_not_believed(planned: list[Planned]) -> None:
    with pytest.raises(StageFailedError, match="teacher"):
        run(planned, print, FakeLauncher(teacher=0))


def test_the_result_of_another_request_is_not_taken_for_this_one_s(planned: list[Planned]) -> None:
    item = planned[0]
    item.folder.mkdir(parents=True)
    run_folder.write_done(item.folder, {"fingerprint": "other", "outputs": {}})
    assert item.state == "missing"


def test_what_a_kill_left_in_a_done_stage_s_work_folder_is_removed(planned: list[Planned]) -> None:
    run(planned, print, FakeLauncher())
    (planned[0].folder / WORK).mkdir()
    (planned[0].folder / WORK / STARTED).touch()
    assert planned[0].state == "done"
    run(planned, print, FakeLauncher())
    assert not (planned[0].folder / WORK).exists()


def test_all_stages_of_a_run_are_one_group_whether_or_not_all_are_asked_for(config: Path, tmp_path: Path) -> None:
    whole, part = plan(config, tmp_path), plan(config, tmp_path, upto="teacher")
    groups = {item.stage.group for item in (*whole, *part)}
    assert len(groups) == 1
    assert str(groups.pop()).startswith("synthetic-aug-")


def test_another_data_set_or_seed_or_setting_is_another_group(config: Path, tmp_path: Path, phantoms: Path) -> None:
    overrides: list[tuple[str, ...]] = [(), ("runtime.seed=1",), ("report.title=x",), ("data.num_val=3",)]
    groups = {plan(config, tmp_path, *each)[0].stage.group for each in overrides}
    groups.add(plan(config, tmp_path, data=f"drive:{phantoms}")[0].stage.group)
    assert len(groups) == 5


def test_the_group_does_not_tell_how_many_devices_there_are(config: Path, tmp_path: Path) -> None:
    one, two = plan(config, tmp_path), plan(config, tmp_path, "runtime.devices=2")
    assert one[0].stage.group == two[0].stage.group


def test_folders_are_named_by_stage_and_fingerprint(planned: list[Planned], tmp_path: Path) -> None:
    for item in planned:
        assert item.folder == tmp_path / "runs" / f"{item.stage.name}-{item.fingerprint[:12]}"


def test_running_writes_into_the_runs_folder_alone(planned: list[Planned], tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    run(planned, print, FakeLauncher())
    assert set(tmp_path.iterdir()) - before == {tmp_path / "runs"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {".requests", *(i.folder.name for i in planned)}


@pytest.mark.parametrize(
    ("overrides", "upto", "message"),
    [
        (["runtime.devices=3"], "teacher", r"^teacher: phases\.0\.batch_size = 2 cannot be shared evenly by 3 devices"),
        (["runtime.num_nodes=2"], "teacher", r"^runtime\.num_nodes = 2: .* runtime\.num_nodes=1"),
        (["runtime.devices=4"], "gan", r"^gan: the path-length batch of 2 .* 4 devices"),
    ],
)
def test_devices_that_cannot_share_the_work_are_refused_before_anything_starts(
    config: Path, tmp_path: Path, overrides: list[str], upto: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        check(plan(config, tmp_path, *overrides, upto=upto), log=print)


def test_devices_need_only_share_the_work_that_is_asked_for_and_not_done(config: Path, tmp_path: Path) -> None:
    three = "runtime.devices=3", "gan.batch_size=6", "gan.pl_batch_shrink=1"
    check(plan(config, tmp_path, *three, upto="gan"), log=print)
    with pytest.raises(RequestError, match=r"^teacher: "):
        check(plan(config, tmp_path, *three), log=print)
    run(plan(config, tmp_path, upto="teacher"), print, FakeLauncher())
    check(plan(config, tmp_path, *three, upto="teacher"), log=print)


def test_in_how_many_passes_the_gan_trains_is_no_part_of_what_it_is(config: Path, tmp_path: Path) -> None:
    whole, passes = plan(config, tmp_path, upto="gan"), plan(config, tmp_path, "gan.images_per_pass=2", upto="gan")
    assert [item.fingerprint for item in whole] == [item.fingerprint for item in passes]
