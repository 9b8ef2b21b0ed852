/**
 * Microsoft Entra ID tokens from the device's authentication broker.
 *
 * @example The broker's accounts, and a token for the first
 * ```ts
 * import { PublicClientApplication } from "@latchkey/latchkey";
 *
 * const app = new PublicClientApplication({ clientId: "11111111-2222-4333-8444-555555555555", enableBrokerOnLinux: true });
 * const [account] = await app.getAccounts();
 * const result = account && await app.acquireTokenSilent({ scopes: ["User.Read"], account });
 * console.log(result?.scopes);
 * app.close();
 * ```
 *
 * @module
 */

export type { AccountInfo } from "./lib/account.ts";
export { PublicClientApplication, type PublicClientApplicationOptions } from "./lib/application.ts";
export type { BrokerFlags, BrokerKind, BrokerStatus, SsoCookie } from "./lib/broker/broker.ts";
export type { TimeLimits } from "./lib/broker/time_limits.ts";
export { openBrokerChannel } from "./lib/broker/detect.ts";
export type { BrokerAnswer, BrokerChannel, BrokerChannelOptions, BrokerQuestion } from "./lib/broker/raw_channel.ts";
export type { CacheCall, CacheStore } from "./lib/cache/store.ts";
export {
  fileStore,
  type FileStoreOptions,
  plaintextStore,
  type PlaintextStoreOptions,
} from "./lib/cache/file_store.ts";
export { type CachePlugin, type CachePluginContext, cachePluginStore } from "./lib/cache/plugin_store.ts";
export { memoryStore } from "./lib/cache/store.ts";
export {
  ArgumentError,
  type BrokerErrorDetails,
  isInteractionRequired,
  LatchkeyError,
  type LatchkeyErrorCode,
  type LatchkeyErrorDetails,
  type Logger,
  type LogLevel,
} from "./lib/errors.ts";
export type { Remedy, RemedyContext, RequestParameter } from "./lib/remedies.ts";
export {
  redirectPath,
  type RedirectUri,
  type RedirectUriOptions,
  redirectUris,
  type SignInWay,
} from "./lib/redirect_uris.ts";
export {
  type AccountFilter,
  type AcquireTokenRequest,
  type AuthCodeFlowRequest,
  type BrokerStatusOptions,
  CONSOLE_WINDOW_HANDLE,
  type DeviceCodeSignIn,
  type InteractiveRequest,
  type PopScheme,
  type Prompt,
  type RemoveAccountOptions,
  type RequestOptions,
  type SignedHttpRequest,
  type SignInOptions,
  type SilentRequest,
  type SsoCookieRequest,
  type TokenRequest,
  type UserCode,
  type WindowHandle,
} from "./lib/request.ts";
export type { AuthCodeFlow, AuthorizationFlow } from "./lib/oauth/authorization_code.ts";
export type { BrowserSignInOptions, SignInOutcome } from "./lib/oauth/browser_sign_in.ts";
export type { Fetch } from "./lib/oauth/bounded_fetch.ts";
export type { FinishOptions } from "./lib/sources/provider.ts";
export type { AuthenticationResult } from "./lib/token.ts";
