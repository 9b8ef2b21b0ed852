/**
 * Windows that a sign-in window can belong to.
 *
 * @module
 */

/**
 * Stands for the console's own window: what a program without windows passes.
 *
 * @example A console program signs a person in
 * ```ts
 * import { CONSOLE_WINDOW_HANDLE, type PublicClientApplication } from "@latchkey/latchkey";
 *
 * async function signIn(app: PublicClientApplication): Promise<string> {
 *   const { account } = await app.acquireTokenInteractive({
 *     scopes: ["User.Read"],
 *     parentWindowHandle: CONSOLE_WINDOW_HANDLE,
 *   });
 *   return account.username;
 * }
 * ```
 */
export const CONSOLE_WINDOW_HANDLE: unique symbol = Symbol.for("latchkey.consoleWindow");

/**
 * A window as its system names it: an X11 window's id or a HWND as number or bigint, either one as the bytes that Electron's
 * `getNativeWindowHandle` gives, or a name that Wayland or the desktop portal gave out (`wayland:…`, `x11:…`).
 */
export type WindowHandle = number | bigint | Uint8Array | string | typeof CONSOLE_WINDOW_HANDLE;
