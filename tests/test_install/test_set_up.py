"""The set-up script tells what it does, shows how far compiling is, goes on after an interruption; the Dockerfile takes
the same steps.
"""

import os
import re
import signal
import subprocess
import tarfile
import time

import pytest

# Stands in for the python of the environment: notes its calls, and "compiles" three files, the third one only once
# FOLDER/go exists.
FAKE = r"""#!/bin/bash
folder=FOLDER
case "$*" in
    "-m pip --version") exit 0 ;;
    "-m pip download"*)
        while [ "$1" != --dest ]; do shift; done
        cp "$folder/onedl_mmcv-2.3.6.tar.gz" "$2"; echo download >> "$folder/calls" ;;
    "-m pip install"*/source)
        build=${!#}/build/temp; mkdir -p "$build/ops"
        printf 'build /x/%s.o: compile /x/%s.cpp\n' a a b b c c > "$build/build.ninja"
        for name in a b c; do
            [ "$name" != c ] || until [ -e "$folder/go" ]; do sleep 0.1; done
            [ -e "$build/ops/$name.o" ] || { echo "compile $name" >> "$folder/calls"; sleep "$(cat "$folder/pause")"; touch "$build/ops/$name.o"; }
        done
        sleep "$(cat "$folder/pause")"
        [ ! -e "$folder/broken" ] || { echo "ops.cpp:7: error: no such type"; exit 1; }
        touch "$folder/installed"; echo "install mmcv" >> "$folder/calls" ;;
    "-m pip install"*) echo "install ${*: -1}" >> "$folder/calls" ;;
    -c*) echo 2.3.6-torch2.13.0-py311-cpu ;;
    -*)
        read -r line
        case "$line" in
            "import os, torch") echo cpu ;;
            "import sys, torch, mmcv"*) [ -e "$folder/installed" ] ;;
            *) exit 0 ;;
        esac ;;
esac
"""


@pytest.fixture
def environment(tmp_path, repo_dir):
    """A folder for the fake interpreter, and how to call the script with it."""
    python = tmp_path / 'venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text(FAKE.replace('FOLDER', str(tmp_path)))
    python.chmod(0o755)
    source = tmp_path / 'onedl_mmcv-2.3.6'
    source.mkdir()
    (source / 'setup.py').write_text('')
    with tarfile.open(tmp_path / 'onedl_mmcv-2.3.6.tar.gz', 'w:gz') as archive:
        archive.add(source, source.name)
    (tmp_path / 'pause').write_text('0')

    def start():
        env = {'PATH': os.environ['PATH'], 'VENV': str(tmp_path / 'venv'), 'CXX': 'true'}
        return subprocess.Popen(
            ['bash', str(repo_dir / 'requirements' / 'install.sh')],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        )

    return tmp_path, start


def hear_ctrl_c():
    """A process started in the background inherits that Ctrl-C is ignored, and a shell cannot undo that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def calls(folder):
    return (folder / 'calls').read_text().splitlines()


def test_steps_times_and_progress(environment):
    folder, start = environment
    (folder / 'go').touch()
    (folder / 'pause').write_text('2.5')
    out, err = start().communicate(timeout=120)
    assert err == '', err
    steps = re.findall(r'^--- (\d)/5  (.*)$', out, re.M)
    assert [number for number, _ in steps] == list('12345')
    assert re.search(r'mmcv, ops compiled for cpu with \d+ jobs \(on two cores about 12 minutes, once', out)
    assert '    3 of 3 files compiled, ' in out
    assert len(re.findall(r'^    (?:\d+ min )?\d+ s$', out, re.M)) == 5  # how long every step took
    assert re.search(r'^--- done in (?:\d+ min )?\d+ s: ', out, re.M)
    assert not (folder / 'venv' / 'mmcv-build').exists()
    done = calls(folder)
    assert done.index('install mmcv') < done.index('install .')
    # the next call finds the ops
    out, err = start().communicate(timeout=120)
    assert '2/5  mmcv: its ops are there, compiled for cpu' in out and err == ''
    assert sum(call.startswith('compile') for call in calls(folder)) == 3


def test_goes_on_after_an_interruption(environment):
    folder, start = environment
    process = start()
    deadline = time.monotonic() + 60
    while not any(folder.rglob('b.o')) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and 'interrupted; the same command goes on from here' in out
    assert calls(folder)[-2:] == ['compile a', 'compile b']
    (folder / 'go').touch()
    out, err = start().communicate(timeout=120)
    assert 'going on with the files compiled before' in out and err == ''
    done = calls(folder)
    assert [done.count(f'compile {name}') for name in 'abc'] == [1, 1, 1] and done.count('download') == 1
    assert (folder / 'installed').exists()


def test_what_cannot_be_compiled_is_shown(environment):
    folder, start = environment
    (folder / 'go').touch()
    (folder / 'broken').touch()
    process = start()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert (
        'ops.cpp:7: error: no such type' in err and 'the mmcv ops could not be compiled' in err and 'MAX_JOBS=1' in err
    )


# Dockerfile ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def instructions(repo_dir):
    """Instructions of the Dockerfile, continued lines joined."""
    lines = (repo_dir / 'Dockerfile').read_text().replace('\\\n', ' ').splitlines()
    return [re.sub(r'\s+', ' ', line) for line in lines if line and not line.startswith('#')]


def test_the_image_is_made_by_the_set_up_script(instructions, repo_dir):
    script = (repo_dir / 'requirements' / 'install.sh').read_text()
    commands = [line for line in instructions if line.startswith('RUN')]
    assert len(commands) == 2
    # what the script tells a user to install with apt-get is installed
    wanted = {package for line in re.findall(r'apt-get install ([a-z0-9+ -]+)', script) for package in line.split()}
    installed = set(re.search(r'apt-get install -y --no-install-recommends ([^&]+)&&', commands[0])[1].split())
    assert wanted and wanted <= installed
    # nothing is installed past the script but torch, at the version that the script takes
    assert 'bash requirements/install.sh' in commands[1]
    installs = re.findall(r'pip install ([^;&]+)', commands[1])
    assert [line.replace('--quiet ', '').split(' --extra-index-url')[0] for line in installs] == [
        '-c requirements/constraints.txt torch'
    ]
    assert commands[1].index('pip install') < commands[1].index('install.sh')


def test_variables_of_the_image_are_those_of_the_script(instructions, repo_dir):
    script = (repo_dir / 'requirements' / 'install.sh').read_text()
    for name in ('VENV', 'PYTHON', 'MAX_JOBS', 'FORCE_CUDA'):
        assert any(re.search(rf'\b{name}\b', line) for line in instructions if line.startswith(('ENV', 'ARG'))), name
        assert name in script, name
    venv = next(re.search(r'VENV=(\S+)', line)[1] for line in instructions if line.startswith('ENV VENV'))
    assert any(line.startswith(f'ENV PATH={venv}/bin:$PATH') for line in instructions)


def test_the_image_is_for_cpus_unless_asked_and_ends_in_info(instructions):
    assert instructions[0] == 'ARG TARGET=cpu'
    stages = [line for line in instructions if line.startswith('FROM')]
    assert [stage.split(' AS ')[-1] for stage in stages] == ['base-cpu', 'base-cuda', 'FROM base-${TARGET}']
    assert '${CUDA}' in stages[1] and any(line.startswith('ARG CUDA=') for line in instructions)
    assert instructions[-1] == 'CMD ["mmfusion", "info"]'
