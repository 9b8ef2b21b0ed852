// Tokens where people at a shell put them: curl, psql, eval, files of variables, with those programs.
import { beforeAll, expect, test } from "bun:test";
import { shellWord } from "../../lib/runtime/host.ts";
import { type Postgres, startPostgres } from "../tools/start_postgres.ts";
import { putLatchkeyInPath } from "./latchkey_in_path.ts";
import { CLIENT_ID, useStage } from "../fixture.ts";
import { type Run, runProgram } from "./run_latchkey.ts";

const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const stage = useStage({ broker: {} });
let path: Readonly<Record<string, string>>;
beforeAll(() => {
  path = putLatchkeyInPath(stage.home);
});

/** Runs what a person types, with `latchkey` in the path. */
const shell = (script: string, env: Readonly<Record<string, string>> = {}): Promise<Run> =>
  runProgram(["sh", "-c", script], { ...path, DBUS_SESSION_BUS_ADDRESS: stage.bus.address, ...env });
const TOKEN = `latchkey token --client-id ${CLIENT_ID}`;

test("curl takes --format header from standard input, and the token stands in no command line", async () => {
  const seen: (string | null)[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      seen.push(request.headers.get("authorization"));
      return new Response("hello\n");
    },
  });
  const url = `http://127.0.0.1:${server.port}/v1.0/me`;
  const { code, stdout, stderr } = await shell(
    `${TOKEN} --scope User.Read --format header | curl --silent --show-error --noproxy '*' -H @- ${url}`,
  );
  await server.stop(true);
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "hello\n", stderr: "" });
  expect(seen).toEqual([expect.stringMatching(/^Bearer [\w-]+\.[\w-]+\.[\w-]+$/)]);
});

test("eval and a file of variables take --format env", async () => {
  const values = [expect.stringMatching(JWT), "Bearer", expect.stringMatching(/^\d{10}$/)];
  const printed = `printf '%s\\n' "$ACCESS_TOKEN" "$TOKEN_TYPE" "$EXPIRES_ON"`;
  // As docs/shell.md has it. `eval "$(…)"` by itself would succeed without a token.
  const inSh = (token: string) => shell(`lines=$(${token} --format env) && eval "$lines" && ${printed}`);
  expect((await inSh(`${TOKEN} --scope User.Read`)).stdout.trim().split("\n")).toEqual(values);
  expect(await inSh(`${TOKEN} --scope User.Read --account nobody@contoso.com`)).toMatchObject({ code: 3, stdout: "" });
  const inFish = async (token: string) => {
    const loop = `set lines (${token} --format env)\nand for l in $lines; set -gx (string split -m1 = $l); end`;
    return await shell(`exec fish --no-config -c ${shellWord(`${loop}\nand ${printed}`)}`);
  };
  expect((await inFish(`${TOKEN} --scope User.Read`)).stdout.trim().split("\n")).toEqual(values);
  expect((await inFish(`${TOKEN} --scope User.Read --account nobody@contoso.com`)).stdout).toBe("");
  // docker --env-file and systemd's EnvironmentFile= read lines of NAME=VALUE, and take quotation marks differently.
  const { stdout } = await shell(`${TOKEN} --scope User.Read --format env`);
  expect(stdout).toMatch(/^(\w+=[\w.-]+\n){3}$/);
});

test("psql takes the token as PGPASSWORD, as long as Entra's are", async () => {
  const postgres: Postgres = await startPostgres();
  try {
    // Entra's have 1.5 to 3 KB, by the person's groups; the fake's grow with the scopes.
    const scopes = Array.from(
      { length: 60 },
      (_, index) => `https://ossrdbms-aad.database.windows.net/permission-${index}`,
    );
    const token = `${TOKEN} --scope '${scopes.join(" ")}'`;
    const { stdout } = await shell(token);
    expect(stdout.length).toBeGreaterThan(2500);
    postgres.addPerson("jane@contoso.com", stdout.trim());
    const query = (password: string) =>
      shell(
        `PGPASSWORD=${password} psql --no-psqlrc --no-password -U jane@contoso.com -Atc 'select current_user'`,
        postgres.env,
      );
    expect(await query(`"$(${token})"`)).toEqual({ code: 0, stdout: "jane@contoso.com\n", stderr: "" });
    const refused = await query(`"$(${token} --force-refresh)"`);
    expect({ code: refused.code, isRefused: refused.stderr.includes("password authentication failed") }).toEqual({
      code: 2,
      isRefused: true,
    });
  } finally {
    await postgres[Symbol.asyncDispose]();
  }
});
