"""`--lang zh`: help, messages and pages in Chinese; settings, keys of JSON and files of a run in English."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chainrule.cli import main
from chainrule.cli.spoken_help import wrapped
from chainrule.reporting.columns import columns_of


def said(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        main(line.split())
        status = 0
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--lang zh train lenet55", "没有这个配方：'lenet55'；是不是 lenet5？\n  办法: chainrule list"),
        (
            "train lenet5 epochs=-1 --lang=zh",
            "配方 lenet5 的设置 'epochs' 类型或范围不对\n  应为: 整数，不小于 1（默认 20）",
        ),
        ("--lang zh train", "错误：缺少参数 'RECIPE'。\nchainrule list 列出配方。"),
        ("--lang zh foo", "错误：没有命令 'foo'。"),
        ("train lenet5 --epochs 3 --lang zh", "epochs 是设置，不是选项\n  实为: --epochs\n  办法: 写成 epochs=3"),
        ("--lang fr list", "there is no language 'fr'"),
    ],
)
def test_errors(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, error = said(line, capsys)
    assert status == 2 and words in error, error


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    _, plain, _ = said("train --help", capsys)
    assert "Train RECIPE, evaluate it" in plain and "Options:" in plain
    status, out, _ = said("train --help --lang zh", capsys)
    assert status == 0 and "训练 RECIPE" in out and "选项:" in out and "[默认：0; " in out and "Options" not in out
    assert all(columns_of(row) <= 80 for row in out.splitlines())
    _, out, _ = said("--lang zh --help", capsys)
    assert "消息、报告和网页的语言" in out and "从 RUN 采样。" in out


def test_a_table_is_checked_in_chinese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{n},{n % 7},{'ab'[n % 2]}" for n in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["a number,data,kind", *rows]) + "\n", "utf-8")
    _, out, _ = said(f"data check {tmp_path / 'a.csv'} --target kind --lang zh", capsys)
    assert "a number,data" in out and "实有" in out and "训练部分的 0.2，分层，由种子决定" in out, out
    _, out, _ = said(f"data check {tmp_path / 'a.csv'} --target kind --json --lang zh", capsys)
    assert "by the seed" in out and json.loads(out)["target"] == "kind"


def test_settings_are_shown_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said("show mlp --lang zh", capsys)
    assert (
        "任务:     图像分类" in out
        and "数据怎样读：" in out
        and "整数，不小于 1" in out
        and "每个配方都有的设置" in out
    )


def test_lines_are_broken_by_columns() -> None:
    assert wrapped("", 10) == [] and wrapped("a b", 10) == ["a b"]
    lines = wrapped("训练 RECIPE，在测试集上评估，写出运行文件夹。" * 3, 20)
    assert "".join(lines).replace(" ", "") == ("训练RECIPE，在测试集上评估，写出运行文件夹。" * 3)
    assert max(map(columns_of, lines)) <= 22 and not any(line[0] in "，。" for line in lines)
