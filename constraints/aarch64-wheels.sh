#!/bin/sh
# Prove that every dependency of the device side has a wheel for the Jetson: aarch64-wheels.sh PYTHON FOLDER
set -eu
python=$1 folder=$2
for minor in 3.10 3.12; do
  # pip evaluates the constraints' markers with the running Python, so the pins are resolved for $minor first
  pins=$(mktemp)
  "$python" constraints/pins_for.py constraints/versions.txt "$minor" > "$pins"
  needs=$("$python" constraints/pins_for.py --needs pyproject.toml "$minor")
  platforms=""
  for tag in manylinux2014 manylinux_2_17 manylinux_2_24 manylinux_2_26 manylinux_2_27 manylinux_2_28 manylinux_2_31 manylinux_2_34 manylinux_2_35; do
    platforms="$platforms --platform ${tag}_aarch64"
  done
  # shellcheck disable=SC2086
  "$python" -m pip --disable-pip-version-check download --quiet --only-binary=:all: --python-version "$minor" --implementation cp \
    $platforms --dest "$folder/aarch64-python$minor" -c "$pins" $needs
  rm -f "$pins"
  echo "aarch64, Python $minor: $(ls "$folder/aarch64-python$minor" | wc -l) wheels"
done
