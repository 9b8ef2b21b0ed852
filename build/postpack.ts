// After npm has packed: the checkout's package.json is back.
import { renameSync } from "node:fs";
import { CHECKOUT_MANIFEST, PACKAGE_MANIFEST } from "./manifests.ts";

renameSync(CHECKOUT_MANIFEST, PACKAGE_MANIFEST);
