#!/bin/sh
# The demo: a real web server, from Debian's packages, through the registry of this
# machine, to a URL. Everything in it can be typed by hand.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/bin:$PATH"
image=registry.local/demo/nginx:1

if sampan kubectl get deployment hello >/dev/null 2>&1; then
	echo "the demo runs already; these are its copies:"
	sampan ps
	exit 0
fi
echo "\$ sampan image from-deb $image nginx"
sampan image from-deb "$image" nginx
echo "\$ sampan image push $image"
sampan image push "$image"
echo "\$ sampan run $image --name hello --port 80"
sampan run "$image" --name hello --port 80
