// What the loopback listener makes of the system's own words: whose a client is, and why ::1 is not to be had.
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownerOf, type TcpConnection } from "../../../lib/http/loopback.ts";
import { RUNTIME_PATHS } from "../../runtimes/runtime_paths.ts";
import { useStage } from "../../fixture.ts";

const PORT = 0xc0de, CLIENT_PORT = 0x9c41;
const V4: TcpConnection = { address: "127.0.0.1", port: CLIENT_PORT, localAddress: "127.0.0.1", localPort: PORT };
const V6: TcpConnection = { ...V4, address: "::1", localAddress: "::1" };
const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const ONE = "0100007F", ONE_V6 = "00000000000000000000000001000000", MAPPED = "0000000000000000FFFF00000100007F";

/** A row as the kernel writes it, `from` and `to` being addresses. */
function row(from: string, to: string, state: string, uid: number, inode = 4711): string {
  return `   7: ${from} ${to} ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 ${inode} 1 0`;
}
const listening = (uid: number, address = ONE) =>
  row(`${address}:C0DE`, `${"0".repeat(address.length)}:0000`, "0A", uid);
const client = (uid: number, inode?: number, address = ONE) =>
  row(`${address}:9C41`, `${address}:C0DE`, "01", uid, inode);
const accepted = (state = "01", uid = 1000) => row(`${ONE}:C0DE`, `${ONE}:9C41`, state, uid);
const table = (...rows: string[]) => [HEAD, ...rows, ""].join("\n");

describe("ownerOf()", () => {
  const OWNERS = [
    [1000, "this user"],
    [1001, "another user"],
    [65_534, "another user"], // of somebody whom this user namespace does not know, too
    [0, "this user"],
  ] as const;

  test.each(OWNERS)("takes the user %d for %s", (uid, owner) => {
    expect(ownerOf(V4, table(accepted(), client(uid), listening(1000)))).toBe(owner);
    const v6 = table(client(uid, 4711, ONE_V6), listening(1000, ONE_V6));
    expect(ownerOf(V6, v6)).toBe(owner);
    const mapped = row(`${MAPPED}:9C41`, `${MAPPED}:C0DE`, "01", uid);
    expect(ownerOf(V4, table(listening(1000), mapped))).toBe(owner);
  });

  test("takes who called sudo for this user, where that is root", () => {
    expect(ownerOf(V4, table(client(1000), listening(0)), "1000")).toBe("this user");
    expect(ownerOf(V4, table(client(1001), listening(0)), "1000")).toBe("another user");
    expect(ownerOf(V4, table(client(1000), listening(0)))).toBe("another user");
    expect(ownerOf(V4, table(client(1000), listening(1001)), "1000")).toBe("another user");
  });

  test("tells clients with one port by their addresses", () => {
    const elsewhere = row("0500007F:9C41", `${ONE}:C0DE`, "01", 1001);
    const rows = table(elsewhere, client(1000), listening(1000));
    expect(ownerOf(V4, rows)).toBe("this user");
    expect(ownerOf({ ...V4, address: "127.0.0.5" }, rows)).toBe("another user");
    const global = row("B80D0120000000000000000001000000:9C41", `${ONE_V6}:C0DE`, "01", 1001);
    expect(ownerOf({ ...V6, address: "2001:db8::1" }, table(global, listening(1000, ONE_V6)))).toBe("another user");
  });

  test("sees that a client has gone", () => {
    expect(ownerOf(V4, table(client(0, 0), accepted("08"), listening(1000)))).toBe("gone");
    expect(ownerOf(V4, table(accepted("08"), listening(1000)))).toBe("gone");
    expect(ownerOf(V4, table(listening(1000)))).toBe("gone");
  });

  test("does not know what the system does not show", () => {
    expect(ownerOf(V4, "")).toBe("unknown");
    expect(ownerOf(V4, table(client(1001)))).toBe("unknown");
    expect(ownerOf(V4, table(accepted(), listening(1000)))).toBe("unknown");
    expect(ownerOf(V4, table("garbage :C0DE", listening(1000).slice(0, 30)))).toBe("unknown");
  });
});

/** Runs a command in which no IPv6 socket can be made: seccomp answers for the system, with an error of this number. */
const SECCOMP = `
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
step = lambda code, value, then=0, otherwise=0: struct.pack("HBBI", code, then, otherwise, value)
# struct seccomp_data: the call's number at 0, its first argument at 16. It is socket(AF_INET6, ...)?
number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
steps = [step(0x20, 0), step(0x15, number, 0, 3), step(0x20, 16), step(0x15, 10, 0, 1),
         step(0x06, 0x00050000 | int(sys.argv[1])), step(0x06, 0x7fff0000)]
text = ctypes.create_string_buffer(b"".join(steps))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(Filter(len(steps), ctypes.addressof(text)))) == 0
os.execvp(sys.argv[2], sys.argv[2:])
`;
const withoutSockets = (errno: number) => ["python3", "-c", SECCOMP, `${errno}`];
/** A network in which there is no ::1. */
const WITHOUT_ADDRESS = ["unshare", "--net", ...(process.getuid?.() === 0 ? [] : ["--map-root-user"]), "sh", "-c"]
  .concat('ip link set lo up && sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && exec "$@"', "sh");

const LOOPBACK = new URL("../../../lib/http/loopback.ts", import.meta.url).href;
/** Listens, asks itself, and prints the answer, or why there is none. */
const LISTEN = `
  import { listenOnLoopback } from "${LOOPBACK}";
  const onRequest = ({ url }) => ({ status: 200, body: url.pathname });
  try {
    const { port, close } = await listenOnLoopback({ onRequest });
    console.log(await (await fetch("http://127.0.0.1:" + port + "/here")).text());
    await close();
  } catch ({ code, message }) {
    console.log(code, message);
  }`;

const stage = useStage();

// Any error but EADDRINUSE was taken for a machine without IPv6, so another program could be the one that listens on ::1.
describe.each(RUNTIME_PATHS)("listenOnLoopback() on $name", ({ program }) => {
  const listen = async (around: readonly string[]): Promise<string> => {
    const file = join(stage.folder, "listen.mjs");
    writeFileSync(file, LISTEN);
    const child = Bun.spawn([...around, ...program(), file], { stdin: "ignore", stdout: "pipe" });
    const [text] = await Promise.all([new Response(child.stdout).text(), child.exited]);
    return text;
  };

  test("does without ::1 where the machine has none", async () => {
    expect(await listen(WITHOUT_ADDRESS)).toBe("/here\n");
    expect(await listen(withoutSockets(97))).toBe("/here\n"); // EAFNOSUPPORT
  });

  test("tells that ::1 is not to be had for another reason", async () => {
    expect(await listen(withoutSockets(13))).toMatch(
      /^configuration Cannot listen on port 0 of the loopback interface: the system refuses it \(EACCES\)\n$/,
    );
  });
});
