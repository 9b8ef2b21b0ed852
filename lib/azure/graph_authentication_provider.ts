/**
 * Tokens for `@microsoft/microsoft-graph-client`.
 *
 * @module
 */
import type { TokenCredential } from "./token_credential.ts";

/** What that client calls an `AuthenticationProvider`. */
export interface GraphAuthenticationProvider {
  /** A token for the scopes of one request, else for those that the provider was made with. */
  getAccessToken(options?: { readonly scopes?: string[] }): Promise<string>;
}

/**
 * An `authProvider` for `Client.initWithMiddleware`. The tokens are those of clients that do not answer claims challenges,
 * since that client does not.
 *
 * @param credential Where tokens come from.
 * @param options `scopes`: what they are for. @default ["https://graph.microsoft.com/.default"]
 * @returns The provider.
 *
 * @example Who is signed in
 * ```ts
 * import { Client } from "@microsoft/microsoft-graph-client";
 * import { graphAuthenticationProvider, LatchkeyCredential } from "@latchkey/latchkey/azure";
 *
 * const credential = new LatchkeyCredential({
 *   clientId: "11111111-2222-4333-8444-555555555555",
 *   enableBrokerOnLinux: true,
 * });
 * const graph = Client.initWithMiddleware({
 *   authProvider: graphAuthenticationProvider(credential, { scopes: ["User.Read"] }),
 * });
 * console.log(await graph.api("/me").get());
 * credential.close();
 * ```
 */
export function graphAuthenticationProvider(
  credential: TokenCredential,
  options: { readonly scopes?: readonly string[] } = {},
): GraphAuthenticationProvider {
  const { scopes: own = ["https://graph.microsoft.com/.default"] } = options;
  return {
    async getAccessToken({ scopes } = {}) {
      const token = await credential.getToken(scopes?.length ? scopes : [...own]);
      if (token) return token.token;
      throw new TypeError("The credential gave no token");
    },
  };
}
