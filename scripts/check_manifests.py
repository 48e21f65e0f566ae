#!/usr/bin/python3
"""Checks Kubernetes manifests against the API's schema.

    scripts/check_manifests.py [FILE.yaml...]      all of examples/ by default
    scripts/check_manifests.py --update WHEEL      writes the schema anew

Unknown and misplaced fields, wrong types and values are printed as file: kind: place: what is wrong
(exit status 1). Nothing is downloaded: scripts/kubernetes_schema.json holds the kinds that we use and
what they are made of, without descriptions, as Kubernetes publishes them (Apache License 2.0). WHEEL is
the package kubernetes-validate of PyPI, which carries that.

The interpreter is Debian's, since PyYAML and jsonschema come from there.
"""

import argparse
import json
import sys
import zipfile
from pathlib import Path

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "scripts" / "kubernetes_schema.json"
KINDS = ["io.k8s.api.batch.v1.Job", "io.k8s.api.core.v1.Service"]


def without_descriptions(value):
    if isinstance(value, list):
        return [without_descriptions(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_descriptions(item)
        for key, item in value.items()
        # A field may be called "description" as well; its value is then a schema.
        if not (key == "description" and isinstance(item, str)) and not key.startswith("x-kubernetes-")
    }


def references(value):
    """Names of the definitions that a schema refers to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item.split("/")[-1]
            else:
                yield from references(item)


def update(wheel):
    archive = zipfile.ZipFile(wheel)
    version = Path(wheel).name.split("-")[1]
    path = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/_definitions.json"
    published = json.loads(archive.read(path))["$defs"]
    needed, waiting = set(), list(KINDS)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(references(published[name]))
    lines = [f"{json.dumps(name)}: {json.dumps(without_descriptions(published[name]))}" for name in sorted(needed)]
    head = json.dumps(f"Kubernetes {version}, Apache License 2.0; written by scripts/check_manifests.py")
    SCHEMA.write_text('{"$comment": ' + head + ', "$defs": {\n' + ",\n".join(lines) + "\n}}\n")


def schema_of(document, definitions):
    """The name of the definition of a document's kind, or None."""
    for name in KINDS:
        properties = definitions[name]["properties"]
        if all(document.get(field) in properties[field]["enum"] for field in ("apiVersion", "kind")):
            return name
    return None


def problems(path, schema):
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text()) if document is not None]
    except yaml.YAMLError as error:
        yield f"{path}: {error}"
        return
    if not documents:
        yield f"{path}: is empty"
    for document in documents:
        name = schema_of(document, schema["$defs"]) if isinstance(document, dict) else None
        if name is None:
            yield f"{path}: got a document of none of the kinds {', '.join(KINDS)}"
            continue
        validator = jsonschema.Draft202012Validator({"$defs": schema["$defs"], "$ref": f"#/$defs/{name}"})
        for error in validator.iter_errors(document):
            place = ".".join(str(part) for part in error.absolute_path) or "the document"
            yield f"{path}: {document['kind']}: {place}: {error.message}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--update", metavar="WHEEL")
    arguments = parser.parse_args()
    if arguments.update:
        update(arguments.update)
    schema = json.loads(SCHEMA.read_text())
    files = arguments.files or sorted((ROOT / "examples").rglob("*.yaml"))
    found = [problem for path in files for problem in problems(path, schema)]
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
