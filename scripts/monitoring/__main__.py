"""`python -m scripts.monitoring`: write every generated file, and say which of them changed."""

from __future__ import annotations

from scripts.monitoring.files import ROOT, generated


def main() -> None:
    for path, text in generated().items():
        old = path.read_text(encoding="utf-8") if path.exists() else None
        if old != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
