/**
 * Tokens for Azure's SDKs for JavaScript, for Microsoft Graph's client, and for `fetch`. It depends on none of them.
 *
 * @example A request to Azure Resource Manager
 * ```ts
 * import { authorizedFetch, LatchkeyCredential } from "@latchkey/latchkey/azure";
 *
 * const credential = new LatchkeyCredential({
 *   clientId: "11111111-2222-4333-8444-555555555555",
 *   enableBrokerOnLinux: true,
 * });
 * const azure = authorizedFetch(credential, {
 *   scopes: "https://management.azure.com/.default",
 *   origins: ["https://management.azure.com"],
 * });
 * const response = await azure("https://management.azure.com/subscriptions?api-version=2022-12-01");
 * console.log(response.status);
 * credential.close();
 * ```
 *
 * @module
 */

export type { AccountInfo } from "./account.ts";
export { PublicClientApplication, type PublicClientApplicationOptions } from "./application.ts";
export { type AuthorizedFetch, authorizedFetch, type AuthorizedFetchOptions } from "./azure/authorized_fetch.ts";
export {
  type AbortSignalLike,
  type AccessToken,
  AuthenticationRequiredError,
  CredentialUnavailableError,
  type GetTokenOptions,
  type GraphAuthenticationProvider,
  graphAuthenticationProvider,
  LatchkeyCredential,
  type LatchkeyCredentialOptions,
  type ProofOfPossessionOptions,
  type TokenCredential,
} from "./azure/credential.ts";
export { ArgumentError, LatchkeyError, type LatchkeyErrorCode, type LatchkeyErrorDetails } from "./errors.ts";
export type { Remedy, RemedyContext, RequestParameter } from "./remedies.ts";
export type { SignInOptions } from "./request.ts";
