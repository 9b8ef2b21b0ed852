// A client that another user of this machine runs.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";

/** Begins as root, by sudo where the tests are not root's, and goes on as `nobody`. */
const CLIENT = `
import encodings.idna, os, socket, struct, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
address, port, farewell, text = sys.argv[1:]
client = socket.create_connection((address, int(port)))
client.sendall(text.encode())
if farewell == "waits":
    while chunk := client.recv(65536): sys.stdout.buffer.write(chunk)
if farewell == "resets":
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
client.close()
`;

/** Whether this runtime shows whose a connection is: Deno does with all permissions only. */
export function showsOwners(): boolean {
  try {
    return readFileSync("/proc/net/tcp", "utf8") !== "";
  } catch {
    return false;
  }
}

/** Where the client connects to, and what it does once it has sent its text. */
export interface OtherClient {
  readonly host: string;
  readonly port: number;
  /** @default it waits for the end of the answer */
  readonly farewell?: "waits" | "closes" | "resets";
}

/**
 * Sends a text as another user, and gives what is answered.
 *
 * @throws {Error} if nothing can be run as another user here: a test that needs it has not passed then.
 */
export async function exchangeAsOtherUser(
  text: string,
  { host, port, farewell = "waits" }: OtherClient,
): Promise<string> {
  const words = ["python3", "-c", CLIENT, host, `${port}`, farewell, text];
  const [program = "", ...rest] = process.getuid?.() === 0 ? words : ["sudo", "-n", ...words];
  const child = spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"] });
  let answer = "", complaint = "";
  child.stdout.on("data", (chunk) => answer += chunk);
  child.stderr.on("data", (chunk) => complaint += chunk);
  const code = await new Promise((resolve, reject) => child.once("close", resolve).once("error", reject));
  if (code === 0) return answer;
  throw new Error(`A client of another user's, which takes root or a sudo that asks nothing, failed: ${complaint}`);
}
