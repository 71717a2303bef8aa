import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.red5.client.net.rtmp.RTMPClient;
import org.red5.server.api.event.IEvent;
import org.red5.server.net.ICommand;
import org.red5.server.net.rtmp.Channel;
import org.red5.server.net.rtmp.RTMPConnection;
import org.red5.server.net.rtmp.event.AudioData;
import org.red5.server.net.rtmp.event.Ping;
import org.red5.server.net.rtmp.event.VideoData;
import org.red5.server.net.rtmp.message.Header;
import org.red5.server.service.PendingCall;

/**
 * A viewer without a screen on top of the Red5 project's RTMP client: an implementation that shares nothing with librtmp
 * or FFmpeg, and that can seek, pause and resume.
 *
 * Viewer URL STREAM STEP...      steps, done in order:
 *   play=START[,LEN]             as sent on the wire, in ms
 *   buffer=MS  seek=MS  pause=MS  resume=MS
 *   until=CODE                   an onStatus with that code (10 s at most)
 *   wait=MS                      lets media come
 *   count                        prints "media video=N audio=N keys=N first=MS last=MS" since the last count
 *
 * Exit code: 0 all steps done, 2 not connected, 3 a status did not come.
 */
public final class Viewer extends RTMPClient {
    private final BlockingQueue<String> statuses = new ArrayBlockingQueue<>(1000);
    private int video, audio, keys, first = -1, last = -1;

    private static void say(String line) {
        System.out.println(line);
    }

    @Override
    protected void onCommand(RTMPConnection conn, Channel channel, Header source, ICommand command) {
        Object[] arguments = command.getCall().getArguments();
        if ("onStatus".equals(command.getCall().getServiceMethodName()) && arguments != null) {
            for (Object argument : arguments) {
                if (argument instanceof Map<?, ?> info && info.get("code") != null) {
                    say("status " + info.get("code"));
                    statuses.offer(info.get("code").toString());
                }
            }
        }
        super.onCommand(conn, channel, source, command);
    }

    private synchronized void media(IEvent event) {
        int time;
        if (event instanceof VideoData picture) {
            video++;
            if (picture.getFrameType() == VideoData.FrameType.KEYFRAME) keys++;
            time = picture.getTimestamp();
        } else if (event instanceof AudioData sound) {
            audio++;
            time = sound.getTimestamp();
        } else {
            return;
        }
        if (first < 0) first = time;
        last = time;
    }

    private synchronized void count() {
        say("media video=" + video + " audio=" + audio + " keys=" + keys + " first=" + first + " last=" + last);
        video = audio = keys = 0;
        first = last = -1;
    }

    /** Red5 calls these by name when the server invokes them. */
    public static final class Callbacks {
        public void onStatus(org.red5.io.utils.ObjectMap<?, ?> info) { }
        public void onMetaData(Map<?, ?> data) { }
        public void onBWDone() { }
        public void close() { }
    }

    public static void main(String[] words) throws Exception {
        System.exit(new Viewer().run(words));
    }

    private int run(String[] words) throws Exception {
        URI url = URI.create(words[0]);
        String app = url.getRawPath().substring(1);
        setServiceProvider(new Callbacks());
        setStreamEventDispatcher(this::media);
        CompletableFuture<Object> answer = new CompletableFuture<>();
        setExceptionHandler(trouble -> answer.complete("" + trouble));
        Map<String, Object> parameters = makeDefaultConnectionParams(url.getHost(), url.getPort(), app);
        parameters.put("tcUrl", words[0]);
        connect(url.getHost(), url.getPort(), parameters, call -> answer.complete(call.getResult()));
        try {
            Object result = answer.get(15, TimeUnit.SECONDS);
            if (!(result instanceof Map<?, ?> info) || !"NetConnection.Connect.Success".equals(info.get("code"))) {
                say("refused " + result);
                return 2;
            }
        } catch (TimeoutException late) {
            say("no answer to connect");
            return 2;
        }
        CompletableFuture<Number> made = new CompletableFuture<>();
        createStream(call -> made.complete((Number) call.getResult()));
        Number stream = made.get(10, TimeUnit.SECONDS);
        for (String word : List.of(words).subList(2, words.length)) {
            String[] step = word.split("=", 2);
            String[] values = step.length > 1 ? step[1].split(",") : new String[0];
            switch (step[0]) {
                case "play" -> {
                    List<Object> arguments = new ArrayList<>(List.of(words[1]));
                    for (String value : values) arguments.add(Integer.valueOf(value));
                    invoke(stream, "play", arguments.toArray());
                }
                case "buffer" -> ping(Ping.CLIENT_BUFFER, stream, Integer.parseInt(values[0]));
                case "seek" -> invoke(stream, "seek", Double.valueOf(values[0]));
                case "pause" -> invoke(stream, "pause", true, Double.valueOf(values[0]));
                case "resume" -> invoke(stream, "pause", false, Double.valueOf(values[0]));
                case "wait" -> Thread.sleep(Long.parseLong(values[0]));
                case "count" -> count();
                case "until" -> {
                    String code;
                    do {
                        code = statuses.poll(10, TimeUnit.SECONDS);
                    } while (code != null && !code.equals(values[0]));
                    if (code == null) {
                        say("missed " + values[0]);
                        count();
                        return 3;
                    }
                }
                default -> throw new IllegalArgumentException(word);
            }
        }
        disconnect();
        return 0;
    }

    /** Red5 numbers channels by stream: stream N speaks on 5 * (N - 1) + 4. */
    private void invoke(Number stream, String method, Object... arguments) {
        getConnection().invoke(new PendingCall(method, arguments), (stream.intValue() - 1) * 5 + 4);
    }
}
