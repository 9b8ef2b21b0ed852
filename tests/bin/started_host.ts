/** A native messaging host as a browser holds it: started, sent messages, and its answers read. */
import { fileURLToPath } from "node:url";
import { frameOf } from "../../bin/commands/browser_host/browser_host.ts";
import { openHome } from "../fixture.ts";

/** What a host says. */
export interface HostMessage {
  readonly command: string | null;
  // deno-lint-ignore no-explicit-any -- tests look deep into it
  readonly message: any;
}

/** A host that runs. */
export interface StartedHost extends AsyncDisposable {
  send(...messages: readonly unknown[]): void;
  sendBytes(bytes: Uint8Array): void;
  /** The next message, whatever it is. */
  next(): Promise<HostMessage>;
  /** The next messages that answer; what is told of the broker between them is passed over. */
  answers(count: number): Promise<HostMessage[]>;
  /** Closes its standard input. */
  end(): void;
  /** Closes the end of its standard output that is read, at once or a little later. */
  hangUp(): Promise<void>;
  /** Sends a message until the host ends. @returns Its exit code. */
  endAsking(message: unknown): Promise<number>;
  readonly exited: Promise<number>;
  readonly stderr: Promise<string>;
}

/** Starts a host; the environment has little but what is given, and a new home unless that names one. */
export function startHost(command: readonly string[], env: Readonly<Record<string, string>>): StartedHost {
  const home = openHome();
  const child = Bun.spawn([...command], {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    env: { NO_COLOR: "1", PATH: process.env.PATH, ...home.env, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const stderr = new Response(child.stderr).text(), reader = child.stdout.getReader();
  let buffered = new Uint8Array();

  async function take(length: number): Promise<Uint8Array> {
    while (buffered.length < length) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`It ended after ${buffered.length} bytes of ${length}: ${await stderr}`);
      buffered = Buffer.concat([buffered, value]);
    }
    const taken = buffered.subarray(0, length);
    buffered = buffered.subarray(length);
    return taken;
  }

  async function next(): Promise<HostMessage> {
    const length = Buffer.from(await take(4)).readUInt32LE();
    if (length > 1024 * 1024) throw new Error(`${length} bytes are more than Chromium takes`);
    return JSON.parse(Buffer.from(await take(length)).toString());
  }

  function sendBytes(bytes: Uint8Array): void {
    const write = async (): Promise<void> => {
      child.stdin.write(bytes);
      await child.stdin.flush();
    };
    write().catch(() => {}); // it has ended: its exit code says why
  }

  return {
    sendBytes,
    send: (...messages) => sendBytes(Buffer.concat(messages.map((message) => frameOf(message)!))),
    next,
    async answers(count) {
      const answers: HostMessage[] = [];
      while (answers.length < count) {
        const message = await next();
        if (message.command !== "brokerStateChanged") answers.push(message);
      }
      return answers;
    },
    end: () => void child.stdin.end(),
    hangUp: () => reader.cancel(),
    async endAsking(message) {
      for (;;) {
        try {
          child.stdin.write(frameOf(message)!);
          await child.stdin.flush();
        } catch {
          // it has ended
        }
        const code = await Promise.race([child.exited, Bun.sleep(20)]);
        if (code !== undefined) return code;
      }
    },
    exited: child.exited,
    stderr,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
      home[Symbol.dispose]();
    },
  };
}
