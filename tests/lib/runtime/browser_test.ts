import { describe, expect, test } from "bun:test";
import { browserCommands, isRemoteSession, openBrowser, type SessionFacts } from "../../../lib/runtime/browser.ts";

const URL_TEXT = "https://login.contoso.com/authorize?client_id=a&scope=b%20c&state=%27d%27";
const url = new URL(URL_TEXT);

function surroundings(
  system: string,
  variables: Readonly<Record<string, string>> = {},
  more: Partial<SessionFacts> = {},
): SessionFacts {
  return { system, isWsl: false, isContainer: false, variable: (name) => variables[name], ...more };
}

const display = { DISPLAY: ":0" };
const ssh = { SSH_CONNECTION: "192.0.2.1 1 192.0.2.2 22" };
const commands = (...args: Parameters<typeof surroundings>) =>
  browserCommands(url, surroundings(...args)).map(({ command }) => command);
const programs = (...args: Parameters<typeof surroundings>) => commands(...args).map(([program]) => program);

describe("browserCommands()", () => {
  test("opens by xdg-open on Linux", () => {
    expect(commands("linux", display)).toEqual([["xdg-open", URL_TEXT]]);
    expect(commands("linux", { WAYLAND_DISPLAY: "wayland-0" })).toEqual([["xdg-open", URL_TEXT]]);
  });

  test("opens nothing on Linux without a display: it would be a text browser", () => {
    expect(commands("linux")).toEqual([]);
    expect(commands("linux", {}, { isContainer: true })).toEqual([]);
  });

  test.each<[string, number, Record<string, string>]>([
    ["the remote screen", 0, display],
    ["the remote screen, named otherwise", 0, { DISPLAY: "unix:0" }],
    ["the remote compositor", 0, { WAYLAND_DISPLAY: "wayland-0" }],
    ["a forwarded screen", 1, { DISPLAY: "localhost:10.0" }],
  ])("over SSH, with %s, knows %d programs", (_where, count, variables) => {
    expect(programs("linux", { ...variables, ...ssh }).length).toBe(count);
    expect(programs("linux", { ...variables, SSH_TTY: "/dev/pts/0" }).length).toBe(count);
  });

  test("opens by open on macOS and by rundll32 on Windows, by their whole paths", () => {
    expect(commands("darwin")).toEqual([["/usr/bin/open", URL_TEXT]]);
    expect(commands("win32", { SystemRoot: "D:\\Windows" })).toEqual([
      ["D:\\Windows\\System32\\rundll32.exe", "url.dll,FileProtocolHandler", URL_TEXT],
    ]);
    expect(commands("win32")[0]![0]).toBe("C:\\Windows\\System32\\rundll32.exe");
  });

  test("opens nothing on a Mac or Windows whose screen is elsewhere", () => {
    expect(commands("darwin", ssh)).toEqual([]);
    expect(commands("win32", ssh)).toEqual([]);
  });

  test("opens Windows' browser from WSL, by explorer.exe last, whose exit code says nothing", () => {
    const wsl = surroundings("linux", {}, { isWsl: true });
    expect(browserCommands(url, wsl).map(({ command }) => command[0])).toEqual([
      "wslview",
      "rundll32.exe",
      "powershell.exe",
      "/mnt/c/Windows/System32/rundll32.exe",
      "explorer.exe",
    ]);
    expect(browserCommands(url, wsl).filter(({ ignoreCode }) => ignoreCode).map(({ command }) => command[0])).toEqual([
      "explorer.exe",
    ]);
    expect(programs("linux", display, { isWsl: true }).at(-1)).toBe("xdg-open");
    expect(programs("linux", ssh, { isWsl: true })).toEqual([]);
  });

  test("gives PowerShell nothing but a text to open", () => {
    const hostile = new URL("https://login.contoso.com/a'b;$(calc)`c?x='y'&z=\"$env:A\"#'e");
    const { command } = browserCommands(hostile, surroundings("linux", {}, { isWsl: true }))[2]!;
    expect(command.at(-1)).toMatch(/^Start-Process '[^'"\s]*'$/);
  });

  test.each<[string, readonly (readonly string[])[]]>([
    ["firefox", [["firefox", URL_TEXT]]],
    ["firefox --new-window", [["firefox", "--new-window", URL_TEXT]]],
    ["firefox -P 'a b' \"%s\" --x=%s", [["firefox", "-P", "a b", URL_TEXT, `--x=${URL_TEXT}`]]],
    ["'/opt/my browser/run':chromium", [["/opt/my browser/run", URL_TEXT], ["chromium", URL_TEXT]]],
    ["a;b $HOME `c`", [["a;b", "$HOME", "`c`", URL_TEXT]]],
    [" : ", []],
    // A relative program is one of the current folder's, a clone of a stranger's perhaps.
    ['./firefox:bin/firefox -x:../firefox:"./my browser" %s:chromium', [["chromium", URL_TEXT]]],
  ])("asks $BROWSER first: %s", (value, expected) => {
    expect(commands("linux", { BROWSER: value })).toEqual([...expected]);
    expect(commands("darwin", { BROWSER: value })).toEqual([...expected, ["/usr/bin/open", URL_TEXT]]);
    expect(commands("linux", { BROWSER: value, ...ssh })).toEqual([...expected]);
  });

  test("takes $BROWSER on Windows for one command", () => {
    expect(commands("win32", { BROWSER: '"C:\\Program Files\\b.exe" -x' })[0])
      .toEqual(["C:\\Program Files\\b.exe", "-x", URL_TEXT]);
  });
});

test.each(["firefox\\b.exe", ".\\b.exe", "\\b.exe", "C:b.exe", "./b.exe"])(
  "browserCommands() passes $BROWSER over on Windows: %s",
  (value) => {
    expect(programs("win32", { BROWSER: value })).toEqual(["C:\\Windows\\System32\\rundll32.exe"]);
    expect(programs("win32", { BROWSER: "b.exe" })[0]).toBe("b.exe");
  },
);

describe("openBrowser()", () => {
  test("tries one program after the other until one starts", async () => {
    const tried: (string | undefined)[] = [];
    const open = (working: string) =>
      openBrowser(url, {
        session: surroundings("linux", { BROWSER: "a:b", ...display }),
        start([program]) {
          tried.push(program);
          return Promise.resolve(program === working);
        },
      });
    expect(await open("b")).toBe(true);
    expect(tried.splice(0)).toEqual(["a", "b"]);
    expect(await open("none")).toBe(false);
    expect(tried).toEqual(["a", "b", "xdg-open"]);
  });

  test.each(["file:///etc/passwd", "javascript:alert(1)", "-x", "", "login.contoso.com", "ms-settings:x", "data:,x"])(
    "does not open %p",
    async (text) => {
      const opened = openBrowser(text, { session: surroundings("darwin"), start: () => Promise.resolve(true) });
      expect(await opened.catch((error) => error)).toBeInstanceOf(TypeError);
    },
  );

  test("gives the address as a parser writes it, in which nothing ends a word", async () => {
    let given: readonly string[] = [];
    await openBrowser('https://login.contoso.com/a b"c?d="e f', {
      session: surroundings("darwin"),
      start(command) {
        given = command;
        return Promise.resolve(true);
      },
    });
    expect(given).toEqual(["/usr/bin/open", "https://login.contoso.com/a%20b%22c?d=%22e%20f"]);
  });

  test("ends at an abort", async () => {
    const controller = new AbortController(), reason = new Error("enough");
    const opened = openBrowser(url, {
      signal: controller.signal,
      session: surroundings("linux", { BROWSER: "a:b" }),
      start() {
        controller.abort(reason);
        return Promise.resolve(false);
      },
    });
    expect(await opened.catch((error) => error)).toBe(reason);
  });
});

test.each<[string, boolean, Record<string, string>, Partial<SessionFacts>]>([
  ["a desktop", false, display, {}],
  ["SSH", true, ssh, {}],
  ["SSH with a terminal", true, { SSH_TTY: "/dev/pts/0" }, {}],
  ["a container", true, display, { isContainer: true }],
  ["WSL", false, {}, { isWsl: true }],
])("isRemoteSession() in %s is %p", (_where, expected, variables, more) => {
  expect(isRemoteSession(surroundings("linux", variables, more))).toBe(expected);
});
