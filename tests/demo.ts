// npm run demo: the command line at work, on this session's broker where there is one, else on one that stands in for it; then
// without a broker.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { styleText } from "node:util";
import { demonstrateWithoutBroker } from "./demo_without_broker.ts";
import { startPrivateBus } from "./fakes/private_bus.ts";
import { startFakeBroker } from "./fakes/start_fake_broker.ts";
import { denoCommand } from "./tools/deno_command.ts";

/** The command line's exit code where there is no broker. */
const EXIT_UNAVAILABLE = 5;
const APP = ["--client-id", "azure-cli"];
const GRAPH = ["--resource", "https://graph.microsoft.com"];
/** So much of a stand-in's token is shown. */
const SHOWN_LETTERS = 24;

const root = fileURLToPath(new URL("../", import.meta.url));
const command = denoCommand("bin/latchkey.ts");

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
}

/** How the command line is run. */
interface Run {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** A session whose broker is asked. */
interface Session extends Run {
  /** Whether its tokens open something, so that no letter of them may be shown. */
  readonly isReal: boolean;
}

const probe = await latchkey({ command, environment: process.env }, "accounts", ...APP, "--broker", "require");
if (probe.status === 0) {
  print("This session has a broker, and what follows are its answers. Its tokens are not shown.\n");
  await demonstrate({ command, environment: process.env, isReal: true });
} else {
  if (probe.status !== EXIT_UNAVAILABLE) process.stderr.write(probe.stderr); // it is there, and something is wrong with it
  await demonstrateStandIn();
}
await demonstrateWithoutBroker({ print, show }, (text) => withoutTokens(text, shortened));
print(
  "Try next: README.md has the first lines of code, examples/ has whole programs,\n" +
    "and `latchkey --help` lists all that the command line does.",
);

async function demonstrateStandIn(): Promise<void> {
  print(
    "This session has no broker to show, so that one is started which STANDS IN for Microsoft's, for this demonstration alone.\n" +
      "Its person is made up, and its tokens open nothing. Command line, library and D-Bus are the real ones.\n",
  );
  const bus = await startPrivateBus();
  try {
    await startFakeBroker(bus);
    await demonstrate({
      command,
      environment: { ...process.env, DBUS_SESSION_BUS_ADDRESS: bus.address },
      isReal: false,
    });
  } finally {
    await bus.stop(); // and with it the broker
  }
}

async function demonstrate(session: Session): Promise<void> {
  print(`Below, latchkey is short for this: Deno, with no more permissions than a broker takes.\n`);
  print(`    deno ${command.slice(1).join(" \\\n      ")}\n`);

  print("Who is signed in to the device:\n");
  const accounts = await show(session, ["accounts", ...APP], (text) => text);
  if (!accounts) return;

  print("An access token for Microsoft Graph, without any window. Alone it prints, for scripts, as one line:\n");
  const shorten = session.isReal ? hidden : shortened;
  if (await show(session, ["token", ...APP, ...GRAPH], (text) => shorten(text.trimEnd())) === undefined) return;

  print("The same with all that is known of it (laid out by this demonstration, without the tokens):\n");
  const json = await show(
    session,
    ["token", ...APP, ...GRAPH, "--format", "json"],
    (text) => withoutTokens(text, shorten),
  );
  if (json === undefined) return;

  print("What the access token says to those who accept it, decoded by this demonstration:\n");
  print(`${claimsOf(JSON.parse(json).access_token)}\n`);
}

/** Shows a command and what it printed; a failure is shown as it is, and ends the demonstration. */
async function show(
  run: Run,
  args: readonly string[],
  shorten: (stdout: string) => string,
): Promise<string | undefined> {
  const line = `$ latchkey ${args.join(" ")}`;
  print(process.stdout.isTTY ? styleText("bold", line) : line);
  const { stdout, stderr, status } = await latchkey(run, ...args);
  if (stderr) process.stderr.write(stderr);
  if (status === 0) {
    print(`${shorten(stdout).trimEnd()}\n`);
    return stdout;
  }
  print(`latchkey ended with exit code ${status}.`);
  process.exitCode = 1;
  return undefined;
}

async function latchkey({ command, environment }: Run, ...args: readonly string[]): Promise<Outcome> {
  const child = Bun.spawn([...command, ...args], {
    cwd: root,
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, status };
}

/** JSON of a token, laid out. */
function withoutTokens(text: string, shorten: (token: string) => string): string {
  const { access_token, id_token, ...rest } = JSON.parse(text);
  const tokens = Object.entries({ access_token, id_token }).filter(([, token]) => token);
  return laidOut({ ...Object.fromEntries(tokens.map(([name, token]) => [name, shorten(token)])), ...rest });
}

function hidden(token: string): string {
  return `(${token.length} letters, not shown by this demonstration)`;
}

function shortened(token: string): string {
  return `${token.slice(0, SHOWN_LETTERS)}… (${token.length} letters, shortened by this demonstration)`;
}

/** The claims of a token that is a JWT: those for Microsoft's own accounts are not. */
function claimsOf(token: string): string {
  try {
    return laidOut(
      JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(token.split(".")[1]!, { alphabet: "base64url" }))),
    );
  } catch {
    return "Nothing: it is for its issuer's eyes alone.";
  }
}

function laidOut(value: unknown): string {
  return JSON.stringify(value, undefined, 2);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
