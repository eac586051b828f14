import { OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { Type } from '@vendure/core';

export interface TruestockPluginOptions {
    /** The address of the connection's webhook at truestock: https://truestock.example/webhooks/<connection>. */
    url: string;
    /** The Standard Webhooks secret of the connection: "whsec_" and the base64 of 24 to 64 random bytes. */
    secret: string;
    /** Changes within this time become one hint. Default: 250. */
    quietMilliseconds?: number;
}

/** Posts a signed hint to truestock when orders or stock change. */
export declare class TruestockPlugin implements OnApplicationBootstrap, OnApplicationShutdown {
    static init(options: TruestockPluginOptions): Type<TruestockPlugin>;
    onApplicationBootstrap(): Promise<void>;
    onApplicationShutdown(): void;
}
