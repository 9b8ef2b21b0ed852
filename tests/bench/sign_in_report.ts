import { denoRun } from "../tools/deno_command.ts";
import { startOidcProvider } from "../tools/start_oidc_provider.ts";
import { markdownTable, median, range } from "./report.ts";
import type { SignInTime } from "./sign_ins.ts";

const ROUNDS = 5;
const SIGN_INS = 20;

type Environment = Readonly<Record<string, string | undefined>>;

/** What our part of a sign-in in the browser costs: the first of a process, with all that is loaded for it, and later ones. */
export async function signInReport(env: Environment): Promise<string> {
  await using provider = await startOidcProvider();
  const rounds: SignInTime[][] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const command = [
      ...denoRun(),
      "--allow-net",
      "tests/bench/sign_ins.ts",
      provider.clientId,
      provider.url,
      `${SIGN_INS}`,
    ];
    const child = Bun.spawn(command, { env, stdio: ["ignore", "pipe", "inherit"] });
    const output = await new Response(child.stdout).text();
    if (await child.exited !== 0) throw new Error("tests/bench/sign_ins.ts failed");
    if (round >= 0) rounds.push(JSON.parse(output));
  }
  const row = (name: string, times: readonly SignInTime[]): readonly string[] => {
    const walls = times.map(({ ms }) => ms), counts = [...new Set(times.map(({ requests }) => requests))];
    return [name, median(walls).toFixed(1), range(walls), counts.join(", ")];
  };
  return markdownTable(["sign-in in the browser, without person and server", "median ms", "min–max", "requests"], [
    row("first of a process", rounds.map(([first]) => first!)),
    row("later ones", rounds.flatMap(([, ...later]) => later)),
  ]);
}
