/**
 * The formats of tokens and accounts, and `--format`, which chooses one.
 *
 * @module
 */
import type { AccountInfo } from "../../lib/account.ts";
import { type JsonObject, readJwt } from "../../lib/encoding.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { shellWord } from "../../lib/runtime/host.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import type { CommandLine } from "./command_line.ts";
import { type ChoiceOption, choiceOption } from "./options.ts";
import { print, say } from "./output.ts";
import { escapeForTerminal, jsonForTerminal } from "../../lib/control_characters.ts";

type TokenFormat = "token" | "json" | "header" | "headers" | "env" | "az" | "claims";

/** The formats of a token; the first is the default. */
export const TOKEN_FORMATS: Readonly<Record<TokenFormat, (result: AuthenticationResult, now: number) => string>> = {
  token: ({ accessToken }) => `${accessToken}\n`,
  json: (result, now) => `${jsonForTerminal(tokenJson(result, now))}\n`,
  header: ({ accessToken, tokenType }) => `Authorization: ${tokenType} ${accessToken}\n`,
  headers: ({ accessToken, tokenType }) => `${jsonForTerminal({ Authorization: `${tokenType} ${accessToken}` })}\n`,
  env: ({ accessToken, tokenType, expiresOn }) => {
    const values = { ACCESS_TOKEN: accessToken, TOKEN_TYPE: tokenType, EXPIRES_ON: String(epochSeconds(expiresOn)) };
    // Quoted only if a shell needs it: not every reader of a file of variables removes quotation marks.
    return Object.entries(values).map(([name, value]) => `${name}=${shellWord(value)}\n`).join("");
  },
  az: (result) => `${jsonForTerminal(azureCliJson(result))}\n`,
  claims: (result) => `${jsonForTerminal(claimsIn(result))}\n`,
};

/** The formats of all commands. `LATCHKEY_FORMAT` is set for all of them, and counts where a command has the format. */
const FORMATS: readonly string[] = [...Object.keys(TOKEN_FORMATS), "text", "cookie"];

/** Returns `--format` with some of the formats, each with its meaning; the first is the default. */
export function formatOption<const Choice extends TokenFormat | "text" | "cookie">(
  meanings: Readonly<Record<Choice, string>>,
): ChoiceOption<Choice> {
  return { ...choiceOption("format", meanings, "Output format"), value: "FORMAT", foreignChoices: FORMATS };
}

export const TEXT_FORMAT: ChoiceOption<"text" | "json"> = formatOption({
  text: "Readable text",
  json: "JSON, for programs",
});

export const TOKEN_FORMAT: ChoiceOption<TokenFormat> = formatOption({
  token: "The access token alone",
  json: "The token with its expiry, account and ID token",
  header: "The Authorization header, for curl -H @-",
  headers: "A JSON object of HTTP headers",
  env: "NAME=VALUE lines for a shell",
  az: "The output of az account get-access-token",
  claims: "The token's claims, decoded but not verified",
});

/** Prints a token in the format of a command line that has `TOKEN_FORMAT`. */
export function printToken(result: AuthenticationResult, line: CommandLine): void {
  const format = line.get(TOKEN_FORMAT);
  print(TOKEN_FORMATS[format](result, Date.now()));
  if (format === "claims") {
    say("these claims were decoded and not verified; only the API that the token is for can do that");
  }
}

/** Returns the claims of a token. Those of a signed HTTP request have the token in them, whose own claims take its place. */
function claimsIn({ accessToken, tokenType }: AuthenticationResult): JsonObject {
  const claims = accessToken.split(".").length === 3 ? readJwt(accessToken) : undefined;
  if (!claims) {
    throw new LatchkeyError("invalid_response", "Cannot decode the token: it is opaque, for its API only", {
      remedy: "Choose another format: --format json has the claims of the ID token, if there is one",
    });
  }
  if (tokenType !== "pop" || typeof claims.at !== "string") return claims;
  return { ...claims, at: readJwt(claims.at) ?? "[concealed]" };
}

function tokenJson(result: AuthenticationResult, now: number): Record<string, unknown> {
  const { name: _name, source: _source, ...accountOfToken } = accountJson(result.account);
  return {
    access_token: result.accessToken,
    token_type: result.tokenType,
    expires_in: Math.max(0, Math.floor((result.expiresOn.getTime() - now) / 1000)),
    expires_on: epochSeconds(result.expiresOn),
    scope: result.scopes.join(" "),
    id_token: result.idToken,
    id_token_claims: result.idTokenClaims,
    account: accountOfToken,
    token_source: result.source,
    correlation_id: result.correlationId,
  };
}

/** Returns a token as `az account get-access-token` prints it. Its subscription is the tenant, as for accounts without any. */
export function azureCliJson(
  { accessToken, expiresOn, tenantId, tokenType }: AuthenticationResult,
): Record<string, unknown> {
  const two = (value: number) => String(value).padStart(2, "0");
  const date = [expiresOn.getFullYear(), expiresOn.getMonth() + 1, expiresOn.getDate()].map(two).join("-");
  const time = [expiresOn.getHours(), expiresOn.getMinutes(), expiresOn.getSeconds()].map(two).join(":");
  return {
    accessToken,
    expiresOn: `${date} ${time}.000000`,
    expires_on: epochSeconds(expiresOn),
    subscription: tenantId,
    tenant: tenantId,
    tokenType,
  };
}

export function accountJson(account: AccountInfo): Record<string, unknown> {
  return {
    home_account_id: account.homeAccountId,
    local_account_id: account.localAccountId,
    username: account.username,
    name: account.name,
    environment: account.environment,
    realm: account.realm,
    source: account.source,
  };
}

/** Returns an account as a line of text: user name, home account id, name and tenant, separated by tabs. */
export function accountLine({ username, homeAccountId, name = "", realm }: AccountInfo): string {
  return `${[username, homeAccountId, name, realm].map(escapeForTerminal).join("\t")}\n`;
}

export function epochSeconds(time: Date): number {
  return Math.floor(time.getTime() / 1000);
}
