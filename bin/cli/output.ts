/**
 * Foreign text made safe to print: no control characters, marks of writing direction or invisible characters reach a
 * terminal.
 *
 * @module
 */
import { shellWord } from "../../lib/runtime/host.ts";
import type { AccountInfo } from "../../lib/account.ts";
import type { AuthenticationResult } from "../../lib/token.ts";

/** Made when it is first needed: a token alone needs it not, and Unicode's classes take 0.3 ms. */
function invisible(): RegExp {
  return /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
}

/** Text for a line on a terminal. */
export function escapeForTerminal(foreign: string): string {
  return foreign.toWellFormed().replaceAll(invisible(), "\u{FFFD}");
}

/** JSON in which such characters stand as `\uXXXX`, so that its reader has them and a terminal does not. */
export function jsonForTerminal(value: unknown): string {
  const escape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value).replaceAll(invisible(), (character) => character.split("").map(escape).join(""));
}

/** Returns a token as it is printed. */
type TokenFormat = (result: AuthenticationResult, now: number) => string;

/** Prints a token, by the name of the format. */
export const TOKEN_FORMATS: Readonly<Record<string, TokenFormat>> = {
  token: ({ accessToken }) => `${accessToken}\n`,
  header: ({ accessToken, tokenType }) => `Authorization: ${tokenType} ${accessToken}\n`,
  env: ({ accessToken, tokenType, expiresOn }) => {
    const values = { ACCESS_TOKEN: accessToken, TOKEN_TYPE: tokenType, EXPIRES_ON: String(epochSeconds(expiresOn)) };
    // What no shell would read stands without quotation marks: not every reader of a file of variables takes them away.
    return Object.entries(values).map(([name, value]) => `${name}=${shellWord(value)}\n`).join("");
  },
  json: (result, now) => `${jsonForTerminal(tokenJson(result, now))}\n`,
  az: (result) => `${jsonForTerminal(azureCliJson(result))}\n`,
};

function tokenJson(result: AuthenticationResult, now: number): Record<string, unknown> {
  return {
    access_token: result.accessToken,
    token_type: result.tokenType,
    expires_in: Math.max(0, Math.floor((result.expiresOn.getTime() - now) / 1000)),
    expires_on: epochSeconds(result.expiresOn),
    scope: result.scopes.join(" "),
    id_token: result.idToken,
    id_token_claims: result.idTokenClaims,
    account: accountJson(result.account, ["home_account_id", "local_account_id", "username", "environment", "realm"]),
    token_source: result.source,
    correlation_id: result.correlationId,
  };
}

/** As `az account get-access-token` prints it; its subscription is the tenant where an account has none. */
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

/** Keys of an account where it is the answer. */
export const ACCOUNT_KEYS: readonly string[] = [
  ...["home_account_id", "local_account_id", "username", "name", "environment", "realm", "source"],
];

/** An account with the names that JSON output has, in the order that is asked for. */
export function accountJson(account: AccountInfo, keys: readonly string[]): Record<string, unknown> {
  const all: Record<string, unknown> = {
    home_account_id: account.homeAccountId,
    local_account_id: account.localAccountId,
    username: account.username,
    name: account.name,
    environment: account.environment,
    realm: account.realm,
    source: account.source,
  };
  return Object.fromEntries(keys.map((key) => [key, all[key]]));
}

function epochSeconds(time: Date): number {
  return Math.floor(time.getTime() / 1000);
}

/** Whether it is an object and no array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
