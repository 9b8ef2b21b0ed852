// What --format env prints, given to a shell; what headers and claims print.
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { TOKEN_FORMATS } from "../../../bin/cli/formats.ts";
import type { AuthenticationResult } from "../../../mod.ts";

const envOf = (accessToken: string, tokenType = "Bearer") => formatted("env", accessToken, tokenType);

async function formatted(
  format: keyof typeof TOKEN_FORMATS,
  accessToken: string,
  tokenType: AuthenticationResult["tokenType"] | string = "Bearer",
): Promise<string> {
  const ids = { homeAccountId: "jane", localAccountId: "jane", environment: "id.contoso.com", tenantId: "", realm: "" };
  return await TOKEN_FORMATS[format]({
    accessToken,
    tokenType: tokenType as "Bearer",
    expiresOn: new Date(4_000_000_000_000),
    scopes: ["read"],
    account: { ...ids, username: "jane", source: "cache" },
    tenantId: "",
    source: "cache",
    correlationId: "id",
  }, 0);
}

// The token was quoted only if it began with a tilde: a cache that others may write ran commands in the shell of who eval'd it.
test.each([
  ...["$(echo pwned >&2)", "`echo pwned >&2`", "a; echo pwned >&2", "a & echo pwned >&2", "a\necho pwned >&2\n"],
  ...["$HOME", "~", "~root", "a:~root", "*", "/*", "a b", " ", "'", "'; echo pwned >&2; '", '"', "\\", "#a", "!!"],
  ...["=sh", "a:=sh", "a=b", "", "{a,b}", "<(echo pwned >&2)", "ü", "eyJ0.eyJh.c2ln-_", "t=EwBw+/A=="],
])("--format env gives a shell %p as it is, and runs nothing", async (text) => {
  const script = 'eval "$1"; printf "%s\\0" "$ACCESS_TOKEN" "$TOKEN_TYPE" "$EXPIRES_ON"';
  for (const shell of ["sh", "bash", "zsh"]) {
    for (const [token, type] of [[text, "Bearer"], ["a", text]] as const) {
      const args = ["-c", `exec 2>&1; ${script}`, shell, await envOf(token, type)];
      expect(execFileSync(shell, args, { encoding: "utf8" })).toBe(`${token}\0${type}\x004000000000\0`);
    }
  }
});

test("--format env leaves a usual token without quotation marks, for files of variables", async () => {
  expect(await envOf("eyJ0.eyJh.c2ln-_")).toBe(
    "ACCESS_TOKEN=eyJ0.eyJh.c2ln-_\nTOKEN_TYPE=Bearer\nEXPIRES_ON=4000000000\n",
  );
});

test("--format headers is one JSON object of headers", async () => {
  expect(await formatted("headers", 'a"b')).toBe('{"Authorization":"Bearer a\\"b"}\n');
  expect(JSON.parse(await formatted("headers", "a.b.c", "pop"))).toEqual({ Authorization: "pop a.b.c" });
});

const jwtOf = (claims: unknown) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;

test("--format claims decodes a token, and the one in a signed request, and never prints it", async () => {
  const claims = { aud: "api://contoso", name: "J\u{fc}rgen \u202e\u001b[31m", exp: 1 }, token = jwtOf(claims);
  const printed = await formatted("claims", token);
  expect(JSON.parse(printed)).toEqual(claims);
  expect(printed.trimEnd()).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  const signed = await formatted("claims", jwtOf({ at: token, m: "GET", ts: 1 }), "pop");
  expect(JSON.parse(signed)).toEqual({ at: claims, m: "GET", ts: 1 });
  expect(JSON.parse(await formatted("claims", jwtOf({ at: "EwBw" }), "pop"))).toEqual({ at: "[concealed]" });
});

test.each(["EwBwA8l6BAAU", "a.b.c", "", jwtOf([1]), `${jwtOf({ a: 1 })}.x.y`])(
  "--format claims says that %j cannot be decoded",
  async (token) => {
    await expect(formatted("claims", token)).rejects.toThrow("Cannot decode the token: it is opaque");
  },
);
