# Sourced by test.sh: installs Debian's Chromium for the tests that open a page, if there is no browser and apt-get can be used.
if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null; then
  apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=20 "$@" >/dev/null 2>&1; }
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing Chromium for the browser test (once, about a minute) …"
    apt_get update || true  # existing package lists may be enough
    apt_get install -y --no-install-recommends chromium || echo "Chromium could not be installed: the browser test will be skipped"
  else
    echo "Chromium not found, and installing it needs root and apt-get: the browser test will be skipped"
  fi
fi
