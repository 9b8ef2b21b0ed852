/**
 * Where to consent, said to those who are refused because nobody has.
 *
 * @module
 */
import { LatchkeyError, type PublicClientApplication } from "../mod.ts";

const CONSENT_MISSING = 65001;

/** What was asked for. */
interface Asked {
  readonly scopes: readonly string[];
  readonly tenantId?: string | undefined;
}

/**
 * The failure of a request for a token, with the address in its hint where consent is missing: a person at a shell has no
 * method to call for it.
 *
 * @param error What the request failed with.
 * @param app The application that asked.
 * @param asked What it asked for.
 * @returns The error to report.
 */
export async function withConsentUrl(error: unknown, app: PublicClientApplication, asked: Asked): Promise<unknown> {
  if (!(error instanceof LatchkeyError) || !error.errorCodes.includes(CONSENT_MISSING)) return error;
  const { code, message, claims } = error, { scopes, tenantId } = asked;
  const url = await app.getAuthorizationRequestUrl({ scopes, tenantId }).catch(() => undefined);
  if (url === undefined) return error; // what it was refused with is what there is to say
  const hint = `Ask an administrator to consent, or visit this to consent: ${url}`;
  return new LatchkeyError(code, message, { ...error, claims, hint, cause: error });
}
