# Sourced by test.sh: Debian's Chromium for the tests that open a page, where there is no browser and it may be installed.
if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null; then
  apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=20 "$@" >/dev/null 2>&1; }
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing Chromium for the browser test (a minute, once) …"
    apt_get update || true  # lists that are there already do as well
    apt_get install -y --no-install-recommends chromium || echo "Chromium could not be installed: the browser test will be skipped"
  else
    echo "no Chromium found, and it takes root and apt-get to install it here: the browser test will be skipped"
  fi
fi
