#!/usr/bin/env python3
"""Checks that no folder of Plinth includes what lies above it.

    scripts/check_layers.py [ROOT]

Four rules, each printed as file:line when broken (exit status 1):
  - a folder's CMakeLists.txt may name as DEPENDS only the folders that ARROWS allows;
  - a file includes only its own folder and the folders reached through those DEPENDS;
  - a header includes no heavy third-party header, and each such library stays in the folders that
    wrap it;
  - a file includes a header once.
"""

import re
import sys
from pathlib import Path

# The layers: a folder may depend on those named, and on what those depend on. Nothing points back.
ARROWS = {
    "kernels": [],
    "core": ["kernels"],
    "metrics": ["core"],
    "nn": ["core"],
    "data": ["core"],
    "distributed": ["nn"],
    "models": ["nn"],
    "train": ["models", "data", "distributed", "metrics"],
    "apps": ["train"],
}

# Third-party headers: the folders whose .cpp files wrap the library; None allows every folder. None of
# them may be included by a header, where each file that includes it would pay for parsing.
HEAVY = {
    "nlohmann/": None,
    "toml++/": ["train", "apps"],
    "CLI/": ["apps"],
    "dnnl": ["kernels"],
    "oneapi/dnnl/": ["kernels"],
    "pcre2.h": ["data"],
    "png.h": ["data"],
    "turbojpeg.h": ["data"],
    "sentencepiece_processor.h": ["data"],
    "sentencepiece_trainer.h": ["data"],
    "gloo/": ["distributed"],
    "kissfft/": ["data"],
    "samplerate.h": ["data"],
    "sndfile.h": ["data"],
    "unicode/": ["data", "metrics"],
    "nccl.h": ["distributed"],
}

# Forward declarations, which cost nothing to parse.
LIGHT = {"nlohmann/json_fwd.hpp"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
LIBRARY = re.compile(r"plinth_library\(\s*(\w+)([^)]*)\)")
SOURCES = {".h", ".cpp", ".cu", ".cuh"}


def closure(folder, arrows):
    """The folder and everything that it reaches along the arrows."""
    seen, waiting = set(), [folder]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(arrows.get(name, []))
    return seen


def declared_dependencies(cmake_text):
    """{library: [(line, dependency), ...]} of the plinth_library calls in a CMakeLists.txt."""
    result = {}
    # Comments become spaces, so that offsets still give line numbers.
    text = re.sub(r"#[^\n]*", lambda match: " " * len(match.group()), cmake_text)
    for call in LIBRARY.finditer(text):
        dependencies, keyword = [], None
        for word in re.finditer(r"\S+", call.group(2)):
            if word.group().isupper():
                keyword = word.group()
            elif keyword == "DEPENDS":
                line = text.count("\n", 0, call.start(2) + word.start()) + 1
                dependencies.append((line, word.group()))
        result[call.group(1)] = dependencies
    return result


def check_cmake(root):
    """Returns ({folder: [declared dependencies]}, [violations])."""
    declared, violations = {}, []
    for folder, allowed in ARROWS.items():
        path = root / folder / "CMakeLists.txt"
        if not path.exists():
            continue
        libraries = declared_dependencies(path.read_text())
        if folder not in libraries:
            declared[folder] = allowed  # apps is a program, not a library
            continue
        declared[folder] = [name for _, name in libraries[folder]]
        reachable = closure(folder, ARROWS) - {folder}
        for line, name in libraries[folder]:
            if name not in reachable:
                violations.append(
                    f"{folder}/CMakeLists.txt:{line}: {folder} may not depend on {name}; "
                    f"it may depend on {', '.join(sorted(reachable)) or 'nothing'}"
                )
    return declared, violations


def check_file(path, root, declared):
    """Violations among the #include lines of one file."""
    relative = path.relative_to(root)
    folder = relative.parts[0]
    allowed = closure(folder, declared)
    violations, seen = [], set()
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        match = INCLUDE.match(line)
        if not match:
            continue
        kind, target = match.groups()
        where = f"{relative}:{number}"
        if target in seen:
            violations.append(f"{where}: {target} is included already")
        seen.add(target)
        other = target.split("/")[0]
        if kind == '"' and target == "plinth.h":
            violations.append(f"{where}: {folder} may not include plinth.h, which includes every folder")
        elif kind == '"' and other in ARROWS and other not in allowed:
            violations.append(
                f"{where}: {folder} may not include {other} ({target}); "
                f"it may include {', '.join(sorted(allowed))}"
            )
        violations.extend(f"{where}: {problem}" for problem in heavy_problems(target, folder, path.suffix))
    return violations


def heavy_problems(target, folder, suffix):
    if target in LIGHT:
        return
    for prefix, folders in HEAVY.items():
        if not target.startswith(prefix):
            continue
        if suffix in {".h", ".cuh"}:
            yield f"a header may not include <{target}>; include it in a .cpp"
        elif folders is not None and folder not in folders:
            yield f"<{target}> belongs to {', '.join(folders)}, not {folder}"


def check_tree(root):
    """All violations below root, as printable lines."""
    declared, violations = check_cmake(root)
    for folder in ARROWS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SOURCES:
                violations.extend(check_file(path, root, declared))
    return violations


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    violations = check_tree(root)
    for violation in violations:
        print(violation, file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
